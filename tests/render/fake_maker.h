// A maker of videos that computes nothing: a test says what happens in each call, and sees which calls came.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "nightreel/render/maker.h"
#include "render/agreement.h"
#include "render/support.h"

namespace nightreel::test {

/// Jobs are told apart by their prompts. In a group its members agree in render(), begin() and finish() on whether one
/// of them is cancelled, as the real one's do.
class FakeMaker final : public render::Maker {
 public:
  struct Call {
    std::string verb;  // prepare, render, begin, finish, write
    std::string job;
    const render::RenderObserver* observer = nullptr;  // of render, begin, finish
  };

  /// What happens in each call; what it throws the call throws.
  std::function<void(const Call&)> on_call;
  std::int64_t wave_size = 1;
  /// In place of a group's own deadline, for how long it waits for what its rank is to tell it.
  std::optional<std::chrono::milliseconds> deadline;
  std::exception_ptr unsaved;  // of what is begun
  std::uint64_t planned = 0;   // bytes, by the latest call
  /// "VERB JOB" of each call but prepare's, and after write's "files of JOB: …"; "share RANK/SIZE"; "part" where a
  /// group parts in good order, "lost" where its communicator fails.
  std::shared_ptr<Diary> diary = std::make_shared<Diary>();

  FakeMaker();
  const protocol::ReadyEvent& facts() const override { return facts_; }
  render::Agreement* share(std::unique_ptr<comm::Communicator> group, std::chrono::milliseconds told) override;
  render::Prepared prepare(const settings::Settings& settings) const override;
  render::Rendered render(const render::Video& video) override;
  void plan_with(std::uint64_t bytes) override { planned = bytes; }
  std::int64_t wave(const settings::Settings&) const override { return wave_size; }
  render::Begun begin(const render::Video& video) override;
  render::Rendered finish(const render::Video& video, render::Begun begun) override;
  void write(const settings::Settings& settings, const protocol::Json& spec, const render::OutputFiles& files,
             render::Rendered& rendered) const override;

 private:
  void work(const std::string& verb, const render::Video& video);

  protocol::ReadyEvent facts_;
  std::unique_ptr<comm::Communicator> group_;
  std::unique_ptr<render::Agreement> agreement_;  // refers to the group
};

}  // namespace nightreel::test
