// Calls into the CUDA runtime: errors become exceptions, memory has an owner.
#pragma once

#include <cstddef>
#include <string>
#include <utility>

#include "base/check.h"
#include "cuda/check.h"

namespace lowbit {

class CudaError : public Error {
 public:
  CudaError(cudaError_t code, std::string message) : Error(std::move(message)), code_(code) {}
  cudaError_t code() const { return code_; }
  // The context is lost: every later call fails too, and the process has to end.
  bool sticky() const;

 private:
  cudaError_t code_;
};

// Of all buffers of this process.
struct BufferBytes {
  size_t taken = 0, peak = 0;
  size_t kept = 0;  // given back and kept from the driver, for buffers to come
};
BufferBytes buffer_bytes();
void reset_peak_bytes();  // to what is taken now

// Device memory with one owner. Not zeroed. OutOfMemory says how much was wanted and is free.
class Buffer {
 public:
  Buffer() = default;
  explicit Buffer(size_t bytes);
  ~Buffer();
  Buffer(Buffer&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), bytes_(std::exchange(other.bytes_, 0)) {}
  Buffer& operator=(Buffer&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
    return *this;
  }

  void* data() const { return data_; }
  size_t bytes() const { return bytes_; }
  template <class T>
  T* as() const {
    return static_cast<T*>(data_);
  }

 private:
  void* data_ = nullptr;
  size_t bytes_ = 0;
};

}  // namespace lowbit
