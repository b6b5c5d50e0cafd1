# Warnings, sanitizers and the compiler cache: what every target of the project is built with.
add_library(nightreel_options INTERFACE)
target_compile_options(nightreel_options INTERFACE
  $<$<COMPILE_LANGUAGE:CXX>:-Wall -Wextra -Wpedantic -Wshadow -Wnon-virtual-dtor -Wold-style-cast
    -Woverloaded-virtual -Wformat=2 -Wimplicit-fallthrough>
  $<$<AND:$<COMPILE_LANGUAGE:CXX>,$<BOOL:${NIGHTREEL_WERROR}>>:-Werror>)

if(NIGHTREEL_SANITIZE)
  target_compile_options(nightreel_options INTERFACE -fsanitize=${NIGHTREEL_SANITIZE}
    -fno-sanitize-recover=all -fno-omit-frame-pointer)
  target_link_options(nightreel_options INTERFACE -fsanitize=${NIGHTREEL_SANITIZE})
  if(CMAKE_CXX_COMPILER_ID STREQUAL "Clang" AND NIGHTREEL_SANITIZE MATCHES "address")
    target_compile_definitions(nightreel_options INTERFACE __SANITIZE_ADDRESS__)  # by which gcc tells the code
  endif()
endif()

# mold links LibTorch's programs in a tenth of the time; where it is missing the compiler's own linker serves.
find_program(NIGHTREEL_MOLD mold)
if(NIGHTREEL_MOLD)
  add_link_options($<$<LINK_LANGUAGE:CXX>:-fuse-ld=mold>)
endif()

# Precompiled headers need a looser cache: their times and paths differ between builds, their content does not.
find_program(NIGHTREEL_CCACHE ccache)
if(NIGHTREEL_CCACHE)
  set(launcher ${CMAKE_COMMAND} -E env
    CCACHE_SLOPPINESS=pch_defines,time_macros,include_file_mtime,include_file_ctime ${NIGHTREEL_CCACHE})
  foreach(language C CXX CUDA)
    set(CMAKE_${language}_COMPILER_LAUNCHER ${launcher})
  endforeach()
endif()
