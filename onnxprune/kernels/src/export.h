// What the library shows to the outside.
#pragma once

#define ONNXPRUNE_EXPORT extern "C" __attribute__((visibility("default")))
