# nightreel_torch_files(OUT): the shared libraries that the engine needs of LibTorch's own folders: what it links, what
# those link in turn, and what LibTorch and cuDNN open by name while they run. Python's bindings, debugging aids and
# libraries that nothing asks for stay out. Sets nightreel_torch_folders, where they lie, and nightreel_torch_licences, where
# a wheel has them.
find_program(NIGHTREEL_READELF readelf REQUIRED)

function(nightreel_needed out file)
  execute_process(COMMAND ${NIGHTREEL_READELF} -d ${file} OUTPUT_VARIABLE dynamic COMMAND_ERROR_IS_FATAL ANY)
  string(REGEX REPLACE "[][]" "|" dynamic "${dynamic}")  # brackets would glue a list's items together
  string(REGEX MATCHALL "\\(NEEDED\\)[^|]*\\|[^|]*" needed "${dynamic}")
  list(TRANSFORM needed REPLACE ".*\\|" "")
  set(${out} ${needed} PARENT_SCOPE)
endfunction()

function(nightreel_torch_files out)
  cmake_path(GET NIGHTREEL_TORCH_ROOT PARENT_PATH above)
  file(GLOB folders ${NIGHTREEL_TORCH_ROOT}/lib ${above}/nvidia/*/lib)
  set(queue libtorch_cpu.so libc10.so)
  if(NIGHTREEL_CUDA)
    list(APPEND queue libtorch_cuda.so libc10_cuda.so libtorch_cuda_linalg.so libcaffe2_nvrtc.so)
    foreach(folder IN LISTS folders)
      file(GLOB opened RELATIVE ${folder} ${folder}/libcudnn_*.so.* ${folder}/libnvrtc-builtins.so.*)
      list(APPEND queue ${opened})
    endforeach()
  endif()
  set(found)
  while(queue)
    list(POP_FRONT queue name)
    find_file(place ${name} PATHS ${folders} NO_DEFAULT_PATH NO_CACHE)
    if(place AND NOT place IN_LIST found)  # the others are the system's
      list(APPEND found ${place})
      nightreel_needed(needed ${place})
      list(APPEND queue ${needed})
    endif()
    unset(place)
  endwhile()
  set(${out} ${found} PARENT_SCOPE)
  set(nightreel_torch_folders ${folders} PARENT_SCOPE)
  file(GLOB licences ${above}/torch-*.dist-info/licenses/* ${above}/nvidia_*.dist-info/licenses/*)
  set(nightreel_torch_licences ${licences} PARENT_SCOPE)
endfunction()
