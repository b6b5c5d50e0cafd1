# Run by cmake --install: what names /opt/nightreel as the place of nightreel's tree names the installed one. `data` is
# set by the caller. Kubernetes' files stay: they speak of the image, whose tree is in /opt/nightreel.
set(root "$ENV{DESTDIR}${CMAKE_INSTALL_PREFIX}")
file(GLOB named "$ENV{DESTDIR}${data}/scripts/slurm/*.sbatch" "$ENV{DESTDIR}${data}/scripts/nightly/*"
  "${root}/lib/systemd/system/nightreel-night.service")
foreach(file IN LISTS named)
  file(READ "${file}" text)
  string(REPLACE "/opt/nightreel" "${data}" text "${text}")
  file(WRITE "${file}" "${text}")
endforeach()
