// What goes from thread to thread in a renderer, and who is woken by what. Nobody here waits for a clock: a wake-up
// that does not come is a wait of kHang, and the test says so.
#include "render/handover.h"

#include <doctest/doctest.h>

#include <future>
#include <memory>
#include <string>

#include "render/support.h"

using namespace nightreel;
using render::Handover;
using std::chrono::milliseconds;

namespace {

constexpr milliseconds kNoTime{0};

bool is_even(int item) {
  return item % 2 == 0;
}

/// Runs `wait` on a thread, and `wake` here; whether that ends it in time. Else all that wakes anybody lets it go.
template <typename Wait, typename Wake>
bool woken(Handover<int>& queue, const Wait& wait, const Wake& wake) {
  test::Diary diary;
  auto waiting = std::async(std::launch::async, [&] {
    diary.add("there");
    wait();
  });
  diary.wait_for("there");
  wake();
  if (waiting.wait_for(test::kHang) == std::future_status::ready) return true;
  queue.close();
  queue.put(0);
  return false;
}

}  // namespace

TEST_CASE("things are taken in the order in which they were put, and what is left at the end, too") {
  Handover<std::unique_ptr<int>> queue;
  for (int i = 0; i < 3; ++i) queue.put(std::make_unique<int>(i));
  CHECK(**queue.take() == 0);
  CHECK_FALSE(queue.closed());
  queue.close();
  CHECK(queue.closed());
  CHECK(**queue.take() == 1);
  CHECK(**queue.take() == 2);
  CHECK_FALSE(queue.take().has_value());
  CHECK_FALSE(queue.take().has_value());
}

TEST_CASE("take_now takes the first, if it is wanted, and never waits") {
  Handover<int> queue;
  CHECK_FALSE(queue.take_now(is_even));
  queue.put(1);
  queue.put(2);
  CHECK_FALSE(queue.take_now(is_even));  // not the one behind it
  CHECK(queue.take() == 1);
  CHECK(queue.take_now(is_even) == 2);
  CHECK_FALSE(queue.take_now(is_even));
}

TEST_CASE("take_wanted takes the first that is wanted, wherever it is, and leaves the others in their order") {
  Handover<int> queue;
  for (const int item : {1, 3, 4, 5, 6}) queue.put(item);
  CHECK(queue.take_wanted(is_even, test::kHang) == 4);
  CHECK(queue.take_wanted(is_even, kNoTime) == 6);
  CHECK_FALSE(queue.take_wanted(is_even, kNoTime));
  queue.close();
  CHECK_FALSE(queue.take_wanted(is_even, test::kHang));
  for (const int item : {1, 3, 5}) CHECK(queue.take() == item);
}

TEST_CASE("what is wanted is taken out of a closed queue") {
  Handover<int> queue;
  queue.put(1);
  queue.put(2);
  queue.close();
  CHECK(queue.take_wanted(is_even, test::kHang) == 2);
}

TEST_CASE("time that is over is told from a queue that is empty, and from one that is closed") {
  Handover<int> queue;
  CHECK(queue.wait_empty(kNoTime));
  CHECK_FALSE(queue.wait_closed(kNoTime));
  queue.wait_for_any(kNoTime);
  queue.put(1);
  CHECK_FALSE(queue.wait_empty(milliseconds(1)));
  queue.wait_for_any(test::kHang);  // there is one
  queue.close();
  CHECK(queue.wait_empty(kNoTime));  // nobody will take it
  CHECK(queue.wait_closed(kNoTime));
}

TEST_CASE("each who waits is woken by what it waits for") {
  SUBCASE("take by put") {
    Handover<int> queue;
    std::optional<int> taken;
    CHECK(woken(
        queue, [&] { taken = queue.take(); }, [&] { queue.put(7); }));
    CHECK(taken == 7);
  }
  SUBCASE("take by close") {
    Handover<int> queue;
    CHECK(woken(
        queue, [&] { queue.take(); }, [&] { queue.close(); }));
  }
  SUBCASE("take_wanted by what is wanted, not by what is not") {
    Handover<int> queue;
    std::optional<int> taken;
    const auto wake = [&] {
      queue.put(1);
      queue.put(2);
    };
    CHECK(woken(
        queue, [&] { taken = queue.take_wanted(is_even, 2 * test::kHang); }, wake));
    CHECK(taken == 2);
  }
  SUBCASE("take_wanted by close") {
    Handover<int> queue;
    queue.put(1);
    CHECK(woken(
        queue, [&] { queue.take_wanted(is_even, 2 * test::kHang); }, [&] { queue.close(); }));
  }
  SUBCASE("wait_for_any by put") {
    Handover<int> queue;
    CHECK(woken(
        queue, [&] { queue.wait_for_any(2 * test::kHang); }, [&] { queue.put(1); }));
  }
  SUBCASE("wait_for_any by close") {
    Handover<int> queue;
    CHECK(woken(
        queue, [&] { queue.wait_for_any(2 * test::kHang); }, [&] { queue.close(); }));
  }
  SUBCASE("wait_closed by close") {
    Handover<int> queue;
    CHECK(woken(
        queue, [&] { CHECK(queue.wait_closed(2 * test::kHang)); }, [&] { queue.close(); }));
  }
  SUBCASE("wait_empty by take") {
    Handover<int> queue;
    queue.put(1);
    CHECK(woken(
        queue, [&] { CHECK(queue.wait_empty(2 * test::kHang)); }, [&] { queue.take(); }));
  }
  SUBCASE("wait_empty by close") {
    Handover<int> queue;
    queue.put(1);
    CHECK(woken(
        queue, [&] { CHECK(queue.wait_empty(2 * test::kHang)); }, [&] { queue.close(); }));
  }
}

TEST_CASE("all that several threads put is taken once by several others") {
  constexpr int kEach = 200;
  Handover<int> queue;
  std::vector<std::future<void>> putting;
  for (int from = 0; from < 3; ++from) {
    putting.push_back(std::async(std::launch::async, [&queue, from] {
      for (int i = 0; i < kEach; ++i) queue.put(from * kEach + i);
    }));
  }
  const auto sum = [&queue] {
    int total = 0;
    while (const auto item = queue.take()) total += *item;
    return total;
  };
  auto one = std::async(std::launch::async, sum);
  auto other = std::async(std::launch::async, sum);
  for (auto& thread : putting) thread.get();
  queue.close();
  CHECK(one.get() + other.get() == 3 * kEach * (3 * kEach - 1) / 2);
}
