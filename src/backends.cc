#include "backends.h"

#include <string>
#include <vector>

#include "base/check.h"
#include "base/text.h"
#include "cpu/backend.h"
#include "ref/backend.h"

namespace lowbit {

std::span<const Backend* const> backends() {
  static const Backend* const kBackends[] = {&cpu_backend(), &ref_backend()};
  return kBackends;
}

const Backend& find_backend(std::string_view name) {
  std::vector<std::string> names;
  for (const Backend* backend : backends()) {
    if (backend->name == name) return *backend;
    names.emplace_back(backend->name);
  }
  if (name == "cuda") {
    throw_error(
        "device `cuda` cannot run models yet (it queries GPUs and has a first kernel); use {}",
        join(names, " or "));
  }
  throw_error("unknown device `{}`{}; this build has: {}", printable(name), suggestion(name, names),
              join(names, ", "));
}

}  // namespace lowbit
