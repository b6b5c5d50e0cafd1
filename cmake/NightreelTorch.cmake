# LibTorch, from a Python wheel or a LibTorch archive, and what the CUDA build needs beside it.
#
# The wheel's own CMake package insists on a CUDA toolkit whenever the wheel was built with CUDA; the libraries are
# therefore named here one by one, so that NIGHTREEL_CUDA=OFF builds on a machine without nvcc.
set(NIGHTREEL_VENV ${PROJECT_SOURCE_DIR}/.venv CACHE PATH "Virtual environment that scripts/setup made")
file(GLOB nightreel_site ${NIGHTREEL_VENV}/lib/python3*/site-packages)
find_path(NIGHTREEL_TORCH_ROOT include/ATen/ATen.h HINTS $ENV{NIGHTREEL_TORCH_ROOT} ${nightreel_site}/torch
  NO_DEFAULT_PATH REQUIRED DOC "Folder of LibTorch: the one that holds include/ and lib/")

add_library(nightreel_torch INTERFACE)
add_library(nightreel::torch ALIAS nightreel_torch)
target_include_directories(nightreel_torch SYSTEM INTERFACE ${NIGHTREEL_TORCH_ROOT}/include
  ${NIGHTREEL_TORCH_ROOT}/include/torch/csrc/api/include)
target_link_directories(nightreel_torch INTERFACE ${NIGHTREEL_TORCH_ROOT}/lib)
target_link_libraries(nightreel_torch INTERFACE torch_cpu c10 Threads::Threads)
set(CMAKE_BUILD_RPATH ${NIGHTREEL_TORCH_ROOT}/lib)

# For the few layers that call CUDA themselves; empty in a build without it. In nightreel_torch its macro and its headers
# would make each file that uses tensors another one than without CUDA, and a compiler cache could not serve both builds.
add_library(nightreel_cuda INTERFACE)

if(NIGHTREEL_CUDA)
  find_program(NIGHTREEL_NVCC nvcc HINTS $ENV{CUDA_HOME}/bin ${nightreel_site}/nvidia/cu13/bin)
  if(NOT NIGHTREEL_NVCC)
    message(FATAL_ERROR "NIGHTREEL_CUDA=ON needs nvcc: run scripts/setup, set CUDA_HOME, or pass -DNIGHTREEL_CUDA=OFF")
  endif()
  set(CMAKE_CUDA_COMPILER ${NIGHTREEL_NVCC})
  if(NOT CMAKE_CUDA_ARCHITECTURES)
    set(CMAKE_CUDA_ARCHITECTURES 80 89 90 100 120)
  endif()
  set(CMAKE_CUDA_STANDARD 20)
  enable_language(CUDA)
  find_package(CUDAToolkit REQUIRED)
  # The headers and the library of the NCCL that LibTorch itself loads, so that one process never maps two.
  find_path(NIGHTREEL_NCCL_INCLUDE nccl.h HINTS ${nightreel_site}/nvidia/nccl/include REQUIRED)
  find_library(NIGHTREEL_NCCL_LIBRARY NAMES libnccl.so.2 nccl HINTS ${nightreel_site}/nvidia/nccl/lib REQUIRED)
  add_library(nightreel_nccl INTERFACE)
  target_include_directories(nightreel_nccl SYSTEM INTERFACE ${NIGHTREEL_NCCL_INCLUDE})
  target_link_libraries(nightreel_nccl INTERFACE ${NIGHTREEL_NCCL_LIBRARY})
  # libtorch_cuda registers its kernels when it is mapped: the linker must keep it although no symbol asks for it.
  target_link_libraries(nightreel_torch INTERFACE -Wl,--no-as-needed torch_cuda c10_cuda -Wl,--as-needed
    $<LINK_ONLY:CUDA::cudart>)
  target_compile_definitions(nightreel_cuda INTERFACE NIGHTREEL_CUDA)
  target_link_libraries(nightreel_cuda INTERFACE CUDA::cudart)
endif()

# ATen/ATen.h costs 16 s a file; precompiled once and shared by all layers that use tensors it costs 3 s.
add_library(nightreel_torch_pch OBJECT ${PROJECT_SOURCE_DIR}/cmake/torch_pch.cpp)
target_link_libraries(nightreel_torch_pch PRIVATE nightreel_torch nightreel_options nightreel_headers)
target_precompile_headers(nightreel_torch_pch PRIVATE <ATen/ATen.h>)

function(nightreel_precompile_torch target)
  target_precompile_headers(${target} REUSE_FROM nightreel_torch_pch)
  # The header is compiled as a library's; an executable's -fPIE would not fit it.
  target_compile_options(${target} PRIVATE $<$<COMPILE_LANGUAGE:CXX>:-fPIC>)
endfunction()
