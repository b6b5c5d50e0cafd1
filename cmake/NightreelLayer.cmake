# nightreel_layer(NAME SOURCES file... [USES layer...] [LIBS target...])
#   One static library a layer: nightreel::NAME, from src/NAME/. USES names the layers that it may include
#   (tests/layers/layers.txt holds the same table and a test compares every #include with it).
function(nightreel_layer name)
  cmake_parse_arguments(arg "TORCH" "" "SOURCES;USES;LIBS" ${ARGN})
  add_library(nightreel_${name} STATIC ${arg_SOURCES})
  add_library(nightreel::${name} ALIAS nightreel_${name})
  target_include_directories(nightreel_${name} PUBLIC
    ${PROJECT_SOURCE_DIR}/include ${PROJECT_BINARY_DIR}/generated PRIVATE ${PROJECT_SOURCE_DIR}/src)
  list(TRANSFORM arg_USES PREPEND nightreel::)
  target_link_libraries(nightreel_${name} PUBLIC ${arg_USES} PRIVATE nightreel_options ${arg_LIBS})
  if(arg_TORCH)
    target_link_libraries(nightreel_${name} PUBLIC nightreel::torch)
    nightreel_precompile_torch(nightreel_${name})
  endif()
endfunction()
