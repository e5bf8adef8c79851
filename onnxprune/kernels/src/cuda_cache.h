// Compiled kernels on disk, in $XDG_CACHE_HOME/onnxprune or ~/.cache/onnxprune.
#pragma once

#include <string>

namespace onnxprune::cuda {

// Returns what was stored under a key, or "" where there is nothing, or nothing whole.
std::string stored(const std::string& key);

// Stores, whole or not at all; several processes may do so at once. Where nothing can be written nothing is stored.
void store(const std::string& key, const std::string& value);

}  // namespace onnxprune::cuda
