# Read by cpack: the Debian packages that the two programs' libraries come from. Of LibTorch's own libraries, which need
# nothing that these do not, dpkg-shlibdeps would read gigabytes.
set(work ${CPACK_PACKAGE_DIRECTORY}/_CPack_Packages/shlibdeps)
file(MAKE_DIRECTORY ${work}/debian)
file(WRITE ${work}/debian/control "")
list(TRANSFORM CPACK_NIGHTREEL_TORCH_FOLDERS PREPEND -l OUTPUT_VARIABLE private)
execute_process(COMMAND dpkg-shlibdeps -O --ignore-missing-info ${private} ${CPACK_NIGHTREEL_PROGRAMS}
  WORKING_DIRECTORY ${work} OUTPUT_VARIABLE needs OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_VARIABLE said
  RESULT_VARIABLE failed)
if(failed)  # else it only wonders at LibTorch's names and at the build folder
  message(FATAL_ERROR "dpkg-shlibdeps: ${said}")
endif()
string(REPLACE "shlibs:Depends=" "" needs "${needs}")
set(CPACK_DEBIAN_PACKAGE_DEPENDS "${CPACK_DEBIAN_PACKAGE_DEPENDS}, ${needs}")
