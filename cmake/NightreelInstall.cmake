# cmake --install and the Debian package. Two components: `nightreel`, the program with all that belongs to it, and
# `libtorch`, LibTorch with the CUDA libraries that it loads (gigabytes), which NIGHTREEL_BUNDLE_TORCH=OFF leaves out.
# Nothing installed names the build tree; the tree runs from wherever it is moved to. docs/install.md lists the places.
include(GNUInstallDirs)
option(NIGHTREEL_BUNDLE_TORCH "Install LibTorch beside the program; OFF: it stays where the build found it" ON)
set(nightreel_data ${CMAKE_INSTALL_DATADIR}/nightreel)
set(nightreel_doc ${CMAKE_INSTALL_DATADIR}/doc/nightreel)
set(nightreel_private lib/nightreel)  # as for systemd's units below: no multi-arch folder

# --- programs

install(TARGETS nightreel RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR} COMPONENT nightreel)
install(TARGETS nightreel-engine nightreel-hdf5 RUNTIME DESTINATION ${CMAKE_INSTALL_LIBEXECDIR}/nightreel
  COMPONENT nightreel)
set_target_properties(nightreel nightreel-hdf5 PROPERTIES INSTALL_RPATH "")
include(NightreelTorchFiles)
nightreel_torch_files(torch_files)
if(NIGHTREEL_BUNDLE_TORCH)
  file(RELATIVE_PATH up /${CMAKE_INSTALL_LIBEXECDIR}/nightreel /${nightreel_private})
  cmake_path(GET NIGHTREEL_TORCH_ROOT PARENT_PATH above)
  foreach(file IN LISTS torch_files)
    cmake_path(GET file PARENT_PATH folder)
    file(RELATIVE_PATH folder ${above} ${folder})  # torch/lib, nvidia/nccl/lib: LibTorch looks for the others by these
    install(PROGRAMS ${file} DESTINATION ${nightreel_private}/${folder} COMPONENT libtorch)
    list(APPEND folders $ORIGIN/${up}/${folder})
  endforeach()
  list(REMOVE_DUPLICATES folders)
  foreach(licence IN LISTS nightreel_torch_licences)
    cmake_path(RELATIVE_PATH licence BASE_DIRECTORY ${above} OUTPUT_VARIABLE name)
    string(REGEX REPLACE "\\.dist-info.*" "" name ${name})
    install(FILES ${licence} DESTINATION ${nightreel_doc}/libtorch/${name} COMPONENT libtorch)
  endforeach()
else()
  set(folders ${NIGHTREEL_TORCH_ROOT}/lib)
  if(NIGHTREEL_CUDA)
    cmake_path(GET NIGHTREEL_NCCL_LIBRARY PARENT_PATH nccl)
    cmake_path(GET CUDA_cudart_LIBRARY PARENT_PATH cudart)
    list(APPEND folders ${nccl} ${cudart})
  endif()
endif()
set_target_properties(nightreel-engine PROPERTIES INSTALL_RPATH "${folders}")

# --- the manual: what the programs just built say of themselves

find_package(Python3 REQUIRED COMPONENTS Interpreter)
set(manual ${PROJECT_BINARY_DIR}/manual)
set(made nightreel.1.gz changelog.gz nightreel.bash _nightreel nightreel.fish)
list(TRANSFORM made PREPEND ${manual}/)
file(GLOB makers ${PROJECT_SOURCE_DIR}/packaging/*.py ${PROJECT_SOURCE_DIR}/packaging/*.in)
add_custom_command(OUTPUT ${made}
  COMMAND Python3::Interpreter ${PROJECT_SOURCE_DIR}/packaging/make_manual.py $<TARGET_FILE:nightreel> ${manual}
    ${CMAKE_INSTALL_FULL_DATADIR} ${CMAKE_INSTALL_FULL_DATADIR}/doc/nightreel
  COMMAND ${CMAKE_COMMAND} -E copy ${PROJECT_SOURCE_DIR}/packaging/changelog ${manual}
  COMMAND gzip -9nkf ${manual}/nightreel.1 ${manual}/changelog
  DEPENDS nightreel nightreel-engine ${makers} ${PROJECT_SOURCE_DIR}/packaging/changelog VERBATIM)
add_custom_target(manual ALL DEPENDS ${made})
install(FILES ${manual}/nightreel.1.gz DESTINATION ${CMAKE_INSTALL_MANDIR}/man1 COMPONENT nightreel)
install(FILES ${manual}/nightreel.bash DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions
  RENAME nightreel COMPONENT nightreel)
install(FILES ${manual}/_nightreel DESTINATION ${CMAKE_INSTALL_DATADIR}/zsh/vendor-completions COMPONENT nightreel)
install(FILES ${manual}/nightreel.fish DESTINATION ${CMAKE_INSTALL_DATADIR}/fish/vendor_completions.d
  COMPONENT nightreel)

# --- scripts, examples, documents, units

install(FILES ${PROJECT_SOURCE_DIR}/scripts/launch.sh DESTINATION ${nightreel_data}/scripts COMPONENT nightreel)
install(DIRECTORY ${PROJECT_SOURCE_DIR}/scripts/mpirun ${PROJECT_SOURCE_DIR}/scripts/slurm
  ${PROJECT_SOURCE_DIR}/scripts/k8s-mpijob ${PROJECT_SOURCE_DIR}/scripts/nightly
  DESTINATION ${nightreel_data}/scripts USE_SOURCE_PERMISSIONS COMPONENT nightreel)
install(DIRECTORY ${PROJECT_SOURCE_DIR}/jobs ${PROJECT_SOURCE_DIR}/models DESTINATION ${nightreel_data}
  COMPONENT nightreel)
install(FILES ${PROJECT_SOURCE_DIR}/share/nightreel/job.schema.json DESTINATION ${nightreel_data} COMPONENT nightreel)
install(DIRECTORY ${PROJECT_SOURCE_DIR}/docs DESTINATION ${nightreel_doc} COMPONENT nightreel)
install(FILES ${PROJECT_SOURCE_DIR}/README.md ${PROJECT_SOURCE_DIR}/LICENSE ${PROJECT_SOURCE_DIR}/packaging/copyright
  ${manual}/changelog.gz DESTINATION ${nightreel_doc}
  COMPONENT nightreel)
install(FILES ${PROJECT_SOURCE_DIR}/scripts/nightly/nightreel-night.service
  ${PROJECT_SOURCE_DIR}/scripts/nightly/nightreel-night.timer DESTINATION lib/systemd/system COMPONENT nightreel)
# In the sources they name /opt/nightreel, a tree with scripts/ right under it.
install(CODE "set(data \"\${CMAKE_INSTALL_PREFIX}/${nightreel_data}\")" COMPONENT nightreel)
install(SCRIPT ${PROJECT_SOURCE_DIR}/cmake/NameInstalledScripts.cmake COMPONENT nightreel)

include(NightreelPackage)
