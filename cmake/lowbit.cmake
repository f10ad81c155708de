# lb_library(<folder> [sources...]): one static library per folder of src/, named lowbit_<folder>.
# lb_test(<name> SOURCES ... LINK ... [ISAS ...]): one gtest binary, registered with ctest.

set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(CMAKE_OPTIMIZE_DEPENDENCIES ON)  # a static library need not wait for those it uses
set(CMAKE_INTERPROCEDURAL_OPTIMIZATION ${LB_LTO})

if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE RelWithDebInfo)
endif()

find_program(LB_CCACHE ccache)
if(LB_CCACHE)
  set(CMAKE_CXX_COMPILER_LAUNCHER ${LB_CCACHE})
  set(CMAKE_CUDA_COMPILER_LAUNCHER ${LB_CCACHE})
endif()

add_library(lb_options INTERFACE)
target_include_directories(lb_options INTERFACE ${PROJECT_SOURCE_DIR}/src)
target_compile_options(lb_options INTERFACE
  $<$<COMPILE_LANGUAGE:CXX>:-Wall -Wextra -Wshadow -Wconversion -Wno-sign-conversion>
  $<$<AND:$<BOOL:${LB_WERROR}>,$<COMPILE_LANGUAGE:CXX>>:-Werror>)
if(LB_STATIC)
  target_link_options(lb_options INTERFACE -static-libstdc++ -static-libgcc -s)
endif()

set(lb_sanitizers ${LB_SANITIZE})
if(LB_BUILD_FUZZERS)
  if(NOT CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
    message(FATAL_ERROR "LB_BUILD_FUZZERS needs clang (this is ${CMAKE_CXX_COMPILER_ID}): "
      "use the `fuzz` preset, or set CMAKE_CXX_COMPILER=clang++")
  endif()
  add_link_options(-fsanitize=fuzzer-no-link)
endif()
if(lb_sanitizers)
  list(JOIN lb_sanitizers "," lb_sanitizers)
  add_compile_options($<$<COMPILE_LANGUAGE:CXX>:-fsanitize=${lb_sanitizers}>
    $<$<COMPILE_LANGUAGE:CXX>:-fno-sanitize-recover=all>
    $<$<COMPILE_LANGUAGE:CXX>:-fno-omit-frame-pointer>)
  add_compile_definitions(_GLIBCXX_ASSERTIONS)
  add_link_options(-fsanitize=${lb_sanitizers})
endif()

# For code that takes longer to compile than to run; with sanitizers tests are such code too,
# but for those that compute much (COMPUTES).
set(lb_quick_to_build -O1)
if(LB_SANITIZE)
  set(lb_quick_to_build -O0)
endif()

# What reads input and is fuzzed. Coverage costs time, so what only computes has none.
set(lb_readers base formats tokenizer load bench options app)

function(lb_library folder)
  add_library(lowbit_${folder} STATIC ${ARGN})
  target_link_libraries(lowbit_${folder} PUBLIC lb_options)
  if(LB_BUILD_FUZZERS AND folder IN_LIST lb_readers)
    target_compile_options(lowbit_${folder} PRIVATE -fsanitize=fuzzer-no-link)
  endif()
  set_property(GLOBAL APPEND PROPERTY LB_LIBRARIES lowbit_${folder})
endfunction()

# Results go to test_results/<name>.json, where scripts/count_tests.sh counts the cases.
function(lb_add_test name binary timeout environment)
  add_test(NAME ${name} COMMAND ${binary})
  set_tests_properties(${name} PROPERTIES TIMEOUT ${timeout} ENVIRONMENT
    "GTEST_OUTPUT=json:${PROJECT_BINARY_DIR}/test_results/${name}.json;${environment}")
endfunction()

# ISAS avx2 avx512 ...: the binary is registered once more for each, with LB_CPU_ISA set to it.
function(lb_test name)
  cmake_parse_arguments(ARG "COMPUTES" "TIMEOUT" "SOURCES;LINK;ISAS" ${ARGN})
  if(NOT ARG_TIMEOUT)
    set(ARG_TIMEOUT 300)
  endif()
  add_executable(${name} ${ARG_SOURCES})
  target_include_directories(${name} PRIVATE ${PROJECT_SOURCE_DIR}/tests)
  target_link_libraries(${name} PRIVATE ${ARG_LINK} lb::gtest lb_options)
  target_compile_definitions(${name} PRIVATE LB_SOURCE_DIR="${PROJECT_SOURCE_DIR}")
  if(LB_SANITIZE)
    target_compile_definitions(${name} PRIVATE LB_SANITIZED=1)
    if(NOT ARG_COMPUTES)
      target_compile_options(${name} PRIVATE ${lb_quick_to_build})
    endif()
  endif()
  lb_add_test(${name} ${name} ${ARG_TIMEOUT} "")
  foreach(isa IN LISTS ARG_ISAS)
    lb_add_test(${name}.${isa} ${name} ${ARG_TIMEOUT} "LB_CPU_ISA=${isa}")
  endforeach()
endfunction()
