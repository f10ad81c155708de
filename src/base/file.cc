#include "base/file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>

#include "base/check.h"

namespace lowbit {
namespace {

// Closes the descriptor when the scope ends; the mapping outlives it.
class Descriptor {
 public:
  Descriptor(const std::string& path, int flags, mode_t mode = 0644)
      : fd_(::open(path.c_str(), flags | O_CLOEXEC, mode)) {
    if (fd_ < 0) throw_error("{}: cannot open: {}", path, std::strerror(errno));
  }
  ~Descriptor() { ::close(fd_); }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return fd_; }

 private:
  int fd_;
};

struct Mapping {
  Mapping(void* begin, size_t bytes) : address(begin), size(bytes) {}
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;
  ~Mapping() { ::munmap(address, size); }

  void* address;
  size_t size;
};

void write_all(const Descriptor& file, const std::string& path, std::string_view content) {
  while (!content.empty()) {
    const ssize_t written = ::write(file.get(), content.data(), content.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) throw_error("{}: cannot write: {}", path, std::strerror(errno));
    content.remove_prefix(static_cast<size_t>(written));
  }
}

class DiskFolder final : public Folder {
 public:
  explicit DiskFolder(std::string path) : path_(std::move(path)) {
    if (!is_directory(path_)) throw_error("{}: no such folder", path_);
  }
  std::string path() const override { return path_; }

  std::vector<std::string> names() const override {
    std::vector<std::string> names;
    std::error_code error;
    for (const auto& entry : std::filesystem::directory_iterator(path_, error)) {
      if (entry.is_regular_file(error)) names.push_back(entry.path().filename().string());
    }
    if (error) throw_error("{}: cannot list the folder: {}", path_, error.message());
    std::sort(names.begin(), names.end());
    return names;
  }

  std::optional<Bytes> find(const std::string& name) const override {
    if (!file_exists(path_of(name))) return std::nullopt;
    return map_file(path_of(name));
  }

 private:
  std::string path_;
};

}  // namespace

Bytes map_file(const std::string& path) {
  const Descriptor file(path, O_RDONLY);
  struct stat info;
  if (::fstat(file.get(), &info) != 0) throw_error("{}: {}", path, std::strerror(errno));
  if (!S_ISREG(info.st_mode)) {
    throw_error("{}: {}", path,
                S_ISDIR(info.st_mode) ? "is a folder, not a file" : "is not a regular file");
  }
  const size_t size = static_cast<size_t>(info.st_size);
  if (size == 0) return {};
  void* address = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, file.get(), 0);
  if (address == MAP_FAILED) throw_error("{}: cannot map: {}", path, std::strerror(errno));
  std::shared_ptr<Mapping> mapping(new Mapping{address, size});
  return {{static_cast<const std::byte*>(address), size}, std::move(mapping), true};
}

void release_pages(const Bytes& bytes) {
  if (!bytes.mapped) return;
  // Only whole pages inside the span: a neighbour may share the first and the last one.
  const uintptr_t page = static_cast<uintptr_t>(::sysconf(_SC_PAGESIZE));
  const uintptr_t begin = (reinterpret_cast<uintptr_t>(bytes.data.data()) + page - 1) / page * page;
  const uintptr_t end =
      (reinterpret_cast<uintptr_t>(bytes.data.data()) + bytes.data.size()) / page * page;
  if (begin < end) ::madvise(reinterpret_cast<void*>(begin), end - begin, MADV_DONTNEED);
}

void read_pages(const Bytes& bytes) {
  if (!bytes.mapped) return;
  const auto page = static_cast<size_t>(::sysconf(_SC_PAGESIZE));
  for (size_t at = 0; at < bytes.data.size(); at += page) {
    static_cast<void>(*static_cast<const volatile std::byte*>(&bytes.data[at]));
  }
}

Bytes Folder::open(const std::string& name) const {
  auto bytes = find(name);
  if (!bytes) throw_error("{}: no such file; the folder must contain it", path_of(name));
  return *std::move(bytes);
}

std::unique_ptr<Folder> open_folder(const std::string& path) {
  return std::make_unique<DiskFolder>(path);
}

void write_file_atomically(const std::string& path, std::string_view content) {
  const std::string temporary = fmt::format("{}.tmp.{}", path, ::getpid());
  try {
    const Descriptor file(temporary, O_WRONLY | O_CREAT | O_TRUNC);
    write_all(file, path, content);
    if (::fsync(file.get()) != 0) throw_error("{}: cannot write: {}", path, std::strerror(errno));
  } catch (Error&) {
    ::unlink(temporary.c_str());
    throw;
  }
  if (::rename(temporary.c_str(), path.c_str()) != 0) {
    const int error = errno;
    ::unlink(temporary.c_str());
    throw_error("{}: cannot write: {}", path, std::strerror(error));
  }
}

void check_can_write(const std::string& path) {
  if (is_directory(path)) throw_error("{}: is a folder; name a file in it", path);
  const size_t slash = path.rfind('/');
  const std::string folder = slash == std::string::npos ? "." : path.substr(0, slash + 1);
  if (!is_directory(folder)) throw_error("{}: there is no folder {}; make it first", path, folder);
  if (::access(folder.c_str(), W_OK) != 0) {
    throw_error("{}: cannot write to the folder {}: {}", path, folder, std::strerror(errno));
  }
}

void append_line(const std::string& path, std::string_view line) {
  const Descriptor file(path, O_WRONLY | O_CREAT | O_APPEND);
  write_all(file, path, std::string(line) + "\n");
}

bool file_exists(const std::string& path) {
  std::error_code error;
  return std::filesystem::is_regular_file(path, error);
}

bool is_directory(const std::string& path) {
  std::error_code error;
  return std::filesystem::is_directory(path, error);
}

}  // namespace lowbit
