#include "cuda_cache.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace onnxprune::cuda {

namespace {

constexpr char kMagic[] = "onnxprune kernels 1\n";

// FNV-1a. The key stands in the file: a clash of digests costs a compilation, no more.
std::uint64_t digest(const std::string& text) {
  std::uint64_t hash = 0xcbf29ce484222325U;
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3U;
  return hash;
}

std::string folder() {
  const char* const cache = std::getenv("XDG_CACHE_HOME");
  if (cache != nullptr && *cache != '\0') return std::string(cache) + "/onnxprune";
  const char* const home = std::getenv("HOME");
  return home != nullptr && *home != '\0' ? std::string(home) + "/.cache/onnxprune" : "";
}

std::string path_of(const std::string& key) {
  const std::string place = folder();
  if (place.empty()) return "";
  char name[40];
  std::snprintf(name, sizeof(name), "/cuda-%016llx.bin", static_cast<unsigned long long>(digest(key)));
  return place + name;
}

// What stands before the value: sizes and digest of the value tell a file that was cut short or damaged.
std::string header(const std::string& key, const std::string& value) {
  char numbers[80];
  std::snprintf(numbers, sizeof(numbers), "%zu %zu %016llx\n", key.size(), value.size(),
                static_cast<unsigned long long>(digest(value)));
  return kMagic + std::string(numbers) + key;
}

void make_folders(const std::string& path) {
  for (std::size_t at = path.find('/', 1); at != std::string::npos; at = path.find('/', at + 1)) {
    mkdir(path.substr(0, at).c_str(), 0700);
  }
}

// Returns what a file holds; nothing where someone else may have written it: it is code.
std::string read_own(const std::string& path) {
  const int descriptor = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (descriptor < 0) return "";
  const struct Guard {
    int descriptor;
    ~Guard() { close(descriptor); }
  } guard{descriptor};
  struct stat about {};
  if (fstat(descriptor, &about) != 0 || !S_ISREG(about.st_mode)) return "";
  if ((about.st_uid != geteuid() && about.st_uid != 0) || (about.st_mode & (S_IWGRP | S_IWOTH)) != 0) return "";
  std::string content(static_cast<std::size_t>(about.st_size), '\0');
  std::size_t done = 0;
  while (done < content.size()) {
    const ssize_t count = read(descriptor, &content[done], content.size() - done);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return "";
    done += static_cast<std::size_t>(count);
  }
  return content;
}

}  // namespace

std::string stored(const std::string& key) {
  const std::string path = path_of(key);
  const std::string content = path.empty() ? "" : read_own(path);
  const std::size_t numbers = std::strlen(kMagic), line = content.find('\n', numbers);
  if (content.compare(0, numbers, kMagic) != 0 || line == std::string::npos) return "";
  const std::size_t start = line + 1 + key.size();
  if (start > content.size()) return "";
  const std::string value = content.substr(start);
  return content.compare(0, start, header(key, value)) == 0 ? value : "";
}

void store(const std::string& key, const std::string& value) {
  const std::string path = path_of(key);
  if (path.empty()) return;
  make_folders(path);
  std::string made = path + ".XXXXXX";
  const int descriptor = mkstemp(made.data());
  if (descriptor < 0) return;
  const std::string content = header(key, value) + value;
  std::size_t done = 0;
  while (done < content.size()) {
    const ssize_t count = write(descriptor, content.data() + done, content.size() - done);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) break;
    done += static_cast<std::size_t>(count);
  }
  const bool whole = done == content.size();
  if (close(descriptor) != 0 || !whole || std::rename(made.c_str(), path.c_str()) != 0) unlink(made.c_str());
}

}  // namespace onnxprune::cuda
