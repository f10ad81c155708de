#include "base/build_info.h"

#include "git_commit.inc"  // LB_GIT_COMMIT, LB_GIT_DIRTY: written by cmake/git_commit.cmake

namespace lowbit {

const BuildInfo& build_info() {
  static constexpr BuildInfo kInfo = {
      .version = LB_VERSION,
      .commit = LB_GIT_COMMIT,
      .dirty = LB_GIT_DIRTY,
      .compiler = LB_COMPILER,
      .flags = LB_FLAGS,
      .build_type = LB_BUILD_TYPE,
      .cuda = LB_BUILT_WITH_CUDA != 0,
      .cuda_architectures = LB_BUILT_FOR,
      .cuda_toolkit = LB_CUDA_TOOLKIT,
  };
  return kInfo;
}

}  // namespace lowbit
