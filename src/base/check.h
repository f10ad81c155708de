// Two kinds of failure, and nothing else.
//   Error     the user's data or request is wrong: thrown, context added on the way up, caught once
//             per command (or request, or bench case) and printed as one line, exit code 2.
//   LB_CHECK  we are wrong: prints file, line and values, then aborts.
#pragma once

#include <fmt/core.h>

#include <stdexcept>
#include <string>
#include <utility>

namespace lowbit {

// A user or data error. The message is one line: what is wrong and what to do about it.
class Error : public std::exception {
 public:
  explicit Error(std::string message) : message_(std::move(message)) {}
  const char* what() const noexcept override { return message_.c_str(); }

  // Puts `where` in front: "model.safetensors: header: ..." grows from the inside out.
  void add_context(const std::string& where) { message_ = where + ": " + message_; }

 private:
  std::string message_;
};

// Memory that cannot be had.
class OutOfMemory final : public Error {
 public:
  using Error::Error;
};

// throw_error("{}: K = {} is not a multiple of {}", name, k, g)
template <class... Args>
[[noreturn]] void throw_error(fmt::format_string<Args...> format, Args&&... args) {
  throw Error(fmt::format(format, std::forward<Args>(args)...));
}

// Runs `body`; an Error that leaves it gets `where` in front of its message.
template <class Body>
decltype(auto) with_context(const std::string& where, Body&& body) {
  try {
    return body();
  } catch (Error& error) {
    error.add_context(where);
    throw;
  }
}

[[noreturn]] void check_failed(const char* file, int line, const char* expression,
                               const std::string& message);

}  // namespace lowbit

// LB_CHECK(cond) or LB_CHECK(cond, "k = {}", k)
#define LB_CHECK(cond, ...)                                                             \
  do {                                                                                  \
    if (!(cond)) [[unlikely]] {                                                         \
      ::lowbit::check_failed(__FILE__, __LINE__, #cond, ::fmt::format("" __VA_ARGS__)); \
    }                                                                                   \
  } while (false)

#ifdef NDEBUG
#define LB_DCHECK(cond, ...) static_cast<void>(0)
#else
#define LB_DCHECK(cond, ...) LB_CHECK(cond, __VA_ARGS__)
#endif
