# `cpack` in a build folder makes one Debian package, with LibTorch inside or (NIGHTREEL_BUNDLE_TORCH=OFF) without.
set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME nightreel)
set(CPACK_PACKAGE_VENDOR nightreel)
set(CPACK_PACKAGE_CONTACT "nightreel developers <nightreel@example.org>")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "renders lists of prompts to videos with Wan models")
set(CPACK_PACKAGE_DESCRIPTION
  "Batch renderer for Wan 2.1 and 2.2 models: mpirun or srun starts one rank a
GPU, the ranks drain a job list in Redis, and videos with their settings land
on shared storage. Scripts for bare metal, Slurm, Kubernetes and every night
are included.")
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_STRIP_FILES ON)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SECTION video)
set(CPACK_DEBIAN_PACKAGE_DEPENDS "redis-server, openmpi-bin, openssh-client, adduser")
set(CPACK_DEBIAN_PACKAGE_RECOMMENDS "man-db")
set(CPACK_DEBIAN_PACKAGE_SUGGESTS "slurm-client")
set(CPACK_DEBIAN_COMPRESSION_TYPE gzip)  # gigabytes of LibTorch: xz would take half an hour
set(CPACK_DEBIAN_PACKAGE_CONTROL_EXTRA ${PROJECT_SOURCE_DIR}/packaging/postinst
  ${PROJECT_SOURCE_DIR}/packaging/postrm)
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)
set(CPACK_PROJECT_CONFIG_FILE ${PROJECT_SOURCE_DIR}/cmake/NightreelPackageDepends.cmake)
set(CPACK_NIGHTREEL_PROGRAMS ${PROJECT_BINARY_DIR}/bin/nightreel ${PROJECT_BINARY_DIR}/bin/nightreel-engine
  ${PROJECT_BINARY_DIR}/bin/nightreel-hdf5)
set(CPACK_NIGHTREEL_TORCH_FOLDERS ${nightreel_torch_folders})
include(CPack)
