// How vectors cover the output positions of a convolution.
#pragma once

#include <cstdint>
#include <vector>

#include "window.h"

namespace onnxprune {

// Two ways are known, and the one with fewer vectors is taken: along each output row, the last vector of a row moved
// back over its neighbour where the row does not divide; or along the whole plane at once, whose rows are longer than
// the output's: some lanes then hold what belongs nowhere.
class PixelCover {
 public:
  // Lanes of a vector that belong into the output one after the other.
  struct Run {
    std::int32_t lane;
    std::int32_t count;
    std::int64_t output;
  };

  PixelCover(const PhasePlanes& planes, int lanes);

  std::int64_t count() const { return static_cast<std::int64_t>(inputs_.size()); }
  // Where each vector starts in a plane.
  const std::int32_t* inputs() const { return inputs_.data(); }
  // Where each vector goes in the output; of use where all are whole.
  const std::int32_t* outputs() const { return outputs_.data(); }
  const Run* runs_begin(std::int64_t vector) const {
    return runs_.data() + first_run_[static_cast<std::size_t>(vector)];
  }
  const Run* runs_end(std::int64_t vector) const { return runs_begin(vector + 1); }

  // Whether each vector is one run of all its lanes.
  bool whole() const { return whole_; }
  // Whether some vector reads past the last place that a tap may meet, by less than a vector.
  bool reads_past_end() const { return reads_past_end_; }
  // Vectors [first, last) may be computed apart from the others only where cuts are at multiples of this.
  std::int64_t unit() const { return unit_; }

 private:
  void along_rows(const PhasePlanes& planes);
  void along_plane(const PhasePlanes& planes, std::int64_t span);

  int lanes_;
  std::int64_t unit_ = 1;
  bool whole_ = true;
  bool reads_past_end_ = false;
  std::vector<std::int32_t> inputs_, outputs_;
  std::vector<std::size_t> first_run_{0};
  std::vector<Run> runs_;
};

}  // namespace onnxprune
