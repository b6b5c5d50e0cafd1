// How the stand-ins for NCCL in several processes of one host reach each other: each message is a file in a folder of
// the communicator's, whole when its name is there.
//
// One thread at a time, but for stop().
#pragma once

#include <atomic>
#include <cstddef>
#include <string>
#include <vector>

namespace nightreel::stand_in {

class Mail {
 public:
  static constexpr int kAll = -1;

  /// `name`: the communicator's. The folder is STAND_IN_FOLDER's or that of temporary files.
  Mail(const std::string& name, int rank);
  Mail(const Mail&) = delete;
  Mail& operator=(const Mail&) = delete;

  /// A message of the collective number `call`, to one member or to all.
  void post(long call, int to, const void* bytes, std::size_t size);
  /// Waits for it. False: stopped meanwhile, or it has another size, which two members that make different calls have.
  bool fetch(long call, int from, int to, void* bytes, std::size_t size);
  /// All members have begun `call`, and so have read what came before.
  void all_have_begun(long call);
  /// After the last call, which all `size` members have made: the last one to say so takes the folder with it.
  void leave(int size);
  /// Ends every wait.
  void stop() { stopped_ = true; }

 private:
  std::string path(long call, int from, int to) const;

  std::string folder_;
  int rank_;
  std::atomic<bool> stopped_{false};
  std::vector<std::pair<long, std::string>> to_all_;  // ours, by call
};

}  // namespace nightreel::stand_in
