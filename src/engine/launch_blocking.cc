#include "engine/launch_blocking.h"

#include <cstdlib>
#include <string_view>

#include "base/check.h"

namespace lowbit {
namespace {

class Blocking final : public Trace {
 public:
  explicit Blocking(const Backend& backend) : backend_(backend) {}

  void begin(const OpTag& tag) override { tag_ = tag; }
  void ran() override {
    with_context(tag_.text(), [&] { backend_.synchronize(stream_of(backend_)); });
  }
  void end(const OpTag&, std::string_view, const OpCost&) override {}

 private:
  const Backend& backend_;
  OpTag tag_{""};
};

std::string_view variable(const char* name) {
  const char* value = std::getenv(name);
  return value ? value : "";
}

}  // namespace

std::unique_ptr<Trace> launch_blocking(const Backend& backend) {
  const std::string_view own = variable("LOWBIT_LAUNCH_BLOCKING");
  if (!own.empty() && own != "0" && own != "1") {
    throw_error("LOWBIT_LAUNCH_BLOCKING={}: must be 0 or 1", own);
  }
  if (own != "1" && variable("CUDA_LAUNCH_BLOCKING") != "1") return nullptr;
  return std::make_unique<Blocking>(backend);
}

}  // namespace lowbit
