# Run at each build (cmake -P): writes the commit into OUTPUT, which is touched only if it changes.
# -D SOURCE_DIR=<checkout> -D OUTPUT=<file>
set(commit unknown)
set(dirty false)
# root often builds what another user checked out; reading its commit is harmless
set(git git -c safe.directory=* -C ${SOURCE_DIR})
execute_process(COMMAND ${git} rev-parse --show-toplevel HEAD
  OUTPUT_VARIABLE answer OUTPUT_STRIP_TRAILING_WHITESPACE RESULT_VARIABLE result ERROR_QUIET)
if(result EQUAL 0 AND answer MATCHES "^(.*)\n([0-9a-f]+)$")
  set(commit_read ${CMAKE_MATCH_2})
  file(REAL_PATH ${CMAKE_MATCH_1} top)
  file(REAL_PATH ${SOURCE_DIR} source)
  if(top STREQUAL source)  # not a tarball unpacked inside some other repository
    set(commit ${commit_read})
    execute_process(COMMAND ${git} status --porcelain --untracked-files=no
      OUTPUT_VARIABLE changes ERROR_QUIET)
    if(changes)
      set(dirty true)
    endif()
  endif()
endif()
file(CONFIGURE OUTPUT ${OUTPUT} CONTENT
  "#define LB_GIT_COMMIT \"${commit}\"\n#define LB_GIT_DIRTY ${dirty}\n")
