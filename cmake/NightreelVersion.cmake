# The git commit goes into one generated header; a build from an archive says "unknown".
execute_process(COMMAND git -C ${PROJECT_SOURCE_DIR} describe --always --dirty --abbrev=12
  OUTPUT_VARIABLE NIGHTREEL_COMMIT OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
if(NOT NIGHTREEL_COMMIT)
  set(NIGHTREEL_COMMIT unknown)
endif()
configure_file(${PROJECT_SOURCE_DIR}/cmake/version.h.in
  ${PROJECT_BINARY_DIR}/generated/nightreel/base/build_version.h @ONLY)
