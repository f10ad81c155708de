#include "backends.h"

#include <string>
#include <vector>

#include "base/check.h"
#include "base/text.h"
#include "cpu/backend.h"
#include "ref/backend.h"

#ifdef LB_WITH_CUDA
#include "cuda/backend.h"
#include "cuda/device.h"
#endif

namespace lowbit {

std::span<const Backend* const> backends() {
  static const std::vector<const Backend*> all = [] {
    std::vector<const Backend*> found = {&cpu_backend(), &ref_backend()};
#ifdef LB_WITH_CUDA
    if (!cuda_devices().empty()) found.push_back(&cuda_backend());
#endif
    return found;
  }();
  return all;
}

const Backend& find_backend(std::string_view name) {
  std::vector<std::string> names;
  for (const Backend* backend : backends()) {
    if (backend->name == name) return *backend;
    names.emplace_back(backend->name);
  }
  if (name == "cuda") {
    std::string why = "this build has no CUDA: build it where nvcc is (CUDA toolkit 12.8 or newer)";
#ifdef LB_WITH_CUDA
    cuda_devices(&why);
#endif
    throw_error("device `cuda`: {}; to run, and to plan which kernels run, takes a GPU; use {}",
                why, join(names, " or "));
  }
  throw_error("unknown device `{}`{}; this build has: {}", printable(name), suggestion(name, names),
              join(names, ", "));
}

}  // namespace lowbit
