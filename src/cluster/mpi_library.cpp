#include "cluster/mpi_library.h"

#define OMPI_SKIP_MPICXX 1
#define MPICH_SKIP_MPICXX 1
#include <mpi.h>

#include <array>

#include "nightreel/base/error.h"
#include "nightreel/cluster/mpi.h"

namespace nightreel::cluster {
namespace {

void check(int code, const char* what) {
  if (code == MPI_SUCCESS) return;
  std::array<char, MPI_MAX_ERROR_STRING> text{};
  int length = 0;
  MPI_Error_string(code, text.data(), &length);
  throw base::Error(base::ErrorKind::environment, std::string(what) + " failed: " + base::printable(text.data()));
}

}  // namespace

// ---- sending -------------------------------------------------------------------------------------------------------

struct Sending::Request {
  std::string bytes;
  MPI_Request handle = MPI_REQUEST_NULL;
};

namespace {

std::unique_ptr<Sending> start_sending(std::string bytes, int to, int tag, MPI_Comm communicator) {
  auto request = std::make_unique<Sending::Request>();
  request->bytes = std::move(bytes);
  check(MPI_Isend(request->bytes.data(), static_cast<int>(request->bytes.size()), MPI_BYTE, to, tag, communicator,
                  &request->handle),
        "MPI_Isend");
  return std::make_unique<Sending>(std::move(request));
}

}  // namespace

Sending::Sending(std::unique_ptr<Request> request) : request_(std::move(request)) {}

Sending::~Sending() {
  // A rank that never receives leaves its message unfinished. MPI may read the bytes for as long as it runs, so they
  // are left to it: a few kilobytes, once, in a process that is about to end.
  if (!done()) static_cast<void>(request_.release());
}

bool Sending::done() {
  int finished = 0;
  return MPI_Test(&request_->handle, &finished, MPI_STATUS_IGNORE) == MPI_SUCCESS && finished != 0;
}

// ---- library -------------------------------------------------------------------------------------------------------

MpiLibrary::MpiLibrary() {
  int provided = 0;
  check(MPI_Init_thread(nullptr, nullptr, MPI_THREAD_FUNNELED, &provided), "MPI_Init_thread");
  check(MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN), "MPI_Comm_set_errhandler");
  if (provided < MPI_THREAD_FUNNELED) {
    throw base::Error(base::ErrorKind::environment, "this MPI library does not bear threads beside it");
  }
  check(MPI_Comm_rank(MPI_COMM_WORLD, &rank_), "MPI_Comm_rank");
  check(MPI_Comm_size(MPI_COMM_WORLD, &size_), "MPI_Comm_size");
}

MpiLibrary::~MpiLibrary() {
  if (!abandoned_) MPI_Finalize();
}

std::string mpi_version() {
  std::array<char, MPI_MAX_LIBRARY_VERSION_STRING> text{};
  int length = 0;
  check(MPI_Get_library_version(text.data(), &length), "MPI_Get_library_version");
  const std::string all(text.data());
  return base::printable(all.substr(0, all.find('\n')));
}

std::vector<int> MpiLibrary::neighbours() const {
  MPI_Comm shared = MPI_COMM_NULL;
  check(MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, rank_, MPI_INFO_NULL, &shared),
        "MPI_Comm_split_type");
  int count = 0;
  check(MPI_Comm_size(shared, &count), "MPI_Comm_size");
  std::vector<int> ranks(static_cast<std::size_t>(count));
  check(MPI_Allgather(&rank_, 1, MPI_INT, ranks.data(), 1, MPI_INT, shared), "MPI_Allgather");
  check(MPI_Comm_free(&shared), "MPI_Comm_free");
  return ranks;
}

std::unique_ptr<Sending> MpiLibrary::send(std::string bytes, int to, int tag) {
  return start_sending(std::move(bytes), to, tag, MPI_COMM_WORLD);
}

std::optional<std::pair<int, std::string>> MpiLibrary::receive(int from, int tag) const {
  int arrived = 0;
  MPI_Message message = MPI_MESSAGE_NULL;
  MPI_Status status;
  check(MPI_Improbe(from < 0 ? MPI_ANY_SOURCE : from, tag, MPI_COMM_WORLD, &arrived, &message, &status), "MPI_Improbe");
  if (arrived == 0) return std::nullopt;
  int bytes = 0;
  check(MPI_Get_count(&status, MPI_BYTE, &bytes), "MPI_Get_count");
  std::string text(static_cast<std::size_t>(bytes), '\0');
  check(MPI_Mrecv(text.data(), bytes, MPI_BYTE, &message, MPI_STATUS_IGNORE), "MPI_Mrecv");
  return std::make_pair(status.MPI_SOURCE, std::move(text));
}

// ---- some of the ranks ---------------------------------------------------------------------------------------------

struct SubWorld::State {
  struct Arriving {
    std::string bytes;
    MPI_Request handle = MPI_REQUEST_NULL;
  };
  MPI_Comm communicator = MPI_COMM_NULL;
  std::map<int, std::unique_ptr<Arriving>> arriving;  // by sender
};

std::unique_ptr<SubWorld> MpiLibrary::split(int colour) const {
  auto state = std::make_unique<SubWorld::State>();
  check(MPI_Comm_split(MPI_COMM_WORLD, colour, rank_, &state->communicator), "MPI_Comm_split");
  check(MPI_Comm_set_errhandler(state->communicator, MPI_ERRORS_RETURN), "MPI_Comm_set_errhandler");
  return std::make_unique<SubWorld>(std::move(state));
}

SubWorld::SubWorld(std::unique_ptr<State> state) : state_(std::move(state)) {}

SubWorld::~SubWorld() {
  // As with Sending: what has begun to arrive is written by MPI for as long as it runs.
  for (auto& [from, one] : state_->arriving) static_cast<void>(one.release());
}

std::unique_ptr<Sending> SubWorld::send(std::string bytes, int to) {
  return start_sending(std::move(bytes), to, 0, state_->communicator);
}

std::optional<std::string> SubWorld::receive(int from) {
  auto& arriving = state_->arriving[from];
  if (!arriving) {
    int arrived = 0;
    MPI_Message message = MPI_MESSAGE_NULL;
    MPI_Status status;
    // What has come while this rank called no MPI is fetched by the first look and found by the second.
    for (int look = 0; look < 2 && arrived == 0; ++look) {
      check(MPI_Improbe(from, 0, state_->communicator, &arrived, &message, &status), "MPI_Improbe");
    }
    if (arrived == 0) return std::nullopt;
    int bytes = 0;
    check(MPI_Get_count(&status, MPI_BYTE, &bytes), "MPI_Get_count");
    arriving = std::make_unique<State::Arriving>();
    arriving->bytes.resize(static_cast<std::size_t>(bytes));
    check(MPI_Imrecv(arriving->bytes.data(), bytes, MPI_BYTE, &message, &arriving->handle), "MPI_Imrecv");
  }
  int finished = 0;
  check(MPI_Test(&arriving->handle, &finished, MPI_STATUS_IGNORE), "MPI_Test");
  if (finished == 0) return std::nullopt;
  const auto whole = std::move(arriving);
  return std::move(whole->bytes);
}

}  // namespace nightreel::cluster
