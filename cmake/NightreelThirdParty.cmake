# Third-party libraries as imported targets. Each is used by one layer; the table is in docs/architecture.md.
find_package(Threads REQUIRED)
find_package(PkgConfig REQUIRED)

# Header-only libraries. On a machine without Debian's packages scripts/setup --headers puts copies into
# build/headers, which can travel with the tree.
find_path(NIGHTREEL_HEADERS nlohmann/json.hpp PATHS ${PROJECT_SOURCE_DIR}/build/headers REQUIRED)
add_library(nightreel_headers INTERFACE)
target_include_directories(nightreel_headers SYSTEM INTERFACE ${NIGHTREEL_HEADERS})
target_compile_definitions(nightreel_headers INTERFACE SPDLOG_HEADER_ONLY FMT_HEADER_ONLY SPDLOG_FMT_EXTERNAL)

if(NIGHTREEL_CLUSTER)
  find_package(MPI REQUIRED COMPONENTS C)
  find_package(HDF5 REQUIRED COMPONENTS C)
  pkg_check_modules(hiredis REQUIRED IMPORTED_TARGET hiredis)
  pkg_check_modules(libav REQUIRED IMPORTED_TARGET libavformat libavcodec libswscale libavutil)
  pkg_check_modules(libjpeg REQUIRED IMPORTED_TARGET libjpeg)
  pkg_check_modules(libwebp REQUIRED IMPORTED_TARGET libwebpdemux libwebp)
  pkg_check_modules(zlib REQUIRED IMPORTED_TARGET zlib)
  pkg_check_modules(utf8proc REQUIRED IMPORTED_TARGET libutf8proc)
  add_library(nightreel_hdf5_library INTERFACE)
  target_include_directories(nightreel_hdf5_library SYSTEM INTERFACE ${HDF5_C_INCLUDE_DIRS})
  target_link_libraries(nightreel_hdf5_library INTERFACE ${HDF5_C_LIBRARIES})
endif()

if(NIGHTREEL_ENGINE)
  include(NightreelTorch)
endif()
