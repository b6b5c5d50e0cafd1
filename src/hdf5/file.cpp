#include "nightreel/hdf5/file.h"

#include <hdf5.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <type_traits>
#include <utility>

#include "nightreel/base/error.h"

namespace nightreel::hdf5 {
namespace {

using base::Error;
using base::ErrorKind;

static_assert(std::is_same_v<hid_t, std::int64_t>, "hdf5.h names HDF5's handle without including it");

constexpr std::size_t kMaxText = 64U << 20U;
constexpr std::size_t kMaxMembers = 4096;
constexpr std::size_t kCoreIncrement = 4U << 20U;

// HDF5's state is the process's, so its lock is too: one that lives in a File could not keep two Files apart.
// Set up once: no filter plug-ins (a file names its filters, and libraries would be loaded for it); no clean-up at
// exit, which would run while another thread may still be inside. Each time: no printing of errors, which a thread-safe
// build turns on again for every new thread.
std::unique_lock<std::mutex> lock_library() {
  static std::mutex mutex;
  static std::once_flag once;
  std::unique_lock<std::mutex> lock(mutex);
  std::call_once(once, [] {
    H5dont_atexit();
    H5PLset_loading_state(0);
  });
  H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr);
  return lock;
}

class Id {
 public:
  using Close = herr_t (*)(hid_t);
  Id(std::int64_t id, Close close) : id_(id), close_(close) {}
  Id(const Id&) = delete;
  Id& operator=(const Id&) = delete;
  ~Id() {
    if (id_ >= 0) close_(id_);
  }
  hid_t get() const { return id_; }

 private:
  hid_t id_;
  Close close_;
};

herr_t keep_description(unsigned position, const H5E_error2_t* error, void* text) {
  if (position == 0 && error->desc != nullptr) *static_cast<std::string*>(text) = error->desc;
  return 0;
}

// The innermost entry of HDF5's error stack.
std::string reason() {
  std::string text;
  H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, keep_description, &text);
  return text;
}

hid_t memory_type(Type type) {
  switch (type) {
    case Type::float32:
      return H5T_NATIVE_FLOAT;
    case Type::float64:
      return H5T_NATIVE_DOUBLE;
    case Type::int64:
      return H5T_NATIVE_INT64;
    case Type::uint8:
      return H5T_NATIVE_UINT8;
  }
  throw Error(ErrorKind::internal, "unknown HDF5 type");
}

// Little-endian on every machine: equal content, equal bytes.
hid_t file_type(Type type) {
  switch (type) {
    case Type::float32:
      return H5T_IEEE_F32LE;
    case Type::float64:
      return H5T_IEEE_F64LE;
    case Type::int64:
      return H5T_STD_I64LE;
    case Type::uint8:
      return H5T_STD_U8LE;
  }
  throw Error(ErrorKind::internal, "unknown HDF5 type");
}

std::vector<hsize_t> sizes(const Shape& shape) {
  return {shape.begin(), shape.end()};
}

// HDF5 takes two open files of the core driver for one when their names are equal. Called with the lock held.
std::string unique_name() {
  static std::uint64_t count = 0;
  return "memory-" + std::to_string(++count);
}

// Throws nothing: `recognised` stays false for a type that this program neither writes nor reads.
Type type_of_file(hid_t stored, bool& recognised) {
  struct Known {
    hid_t little;
    hid_t big;
    Type type;
  };
  const Known table[] = {{H5T_IEEE_F32LE, H5T_IEEE_F32BE, Type::float32},
                         {H5T_IEEE_F64LE, H5T_IEEE_F64BE, Type::float64},
                         {H5T_STD_I64LE, H5T_STD_I64BE, Type::int64},
                         {H5T_STD_U8LE, H5T_STD_U8BE, Type::uint8}};
  for (const Known& known : table) {
    recognised = H5Tequal(stored, known.little) > 0 || H5Tequal(stored, known.big) > 0;
    if (recognised) return known.type;
  }
  return Type::float32;
}

}  // namespace

// Takes over the file's memory when HDF5 closes it. H5Fget_file_image would do without, but what it gives before the
// close has a superblock whose checksum is wrong (HDF5 1.10.8; it clears flags in the copy).
struct File::Image {
  void* buffer = nullptr;
  Image() = default;
  Image(const Image&) = delete;
  Image& operator=(const Image&) = delete;
  ~Image() { std::free(buffer); }

  static void* allocate(std::size_t size, H5FD_file_image_op_t, void*) { return std::malloc(size); }
  static void* copy(void* to, const void* from, std::size_t size, H5FD_file_image_op_t, void*) {
    return std::memcpy(to, from, size);
  }
  static void* reallocate(void* memory, std::size_t size, H5FD_file_image_op_t, void*) {
    return std::realloc(memory, size);
  }
  static herr_t release(void* memory, H5FD_file_image_op_t operation, void* self) {
    if (operation == H5FD_FILE_IMAGE_OP_FILE_CLOSE) {
      static_cast<Image*>(self)->buffer = memory;
    } else {
      std::free(memory);
    }
    return 0;
  }
  static void* share(void* self) { return self; }
  static herr_t leave(void*) { return 0; }
  H5FD_file_image_callbacks_t callbacks() { return {allocate, copy, reallocate, release, share, leave, this}; }
};

void File::fail(const std::string& what) const {
  throw Error(ErrorKind::storage, base::printable(name_, 4096) + ": " + base::printable(what, 500));
}

std::int64_t File::check(std::int64_t result, const std::string& what) const {
  if (result < 0) {
    const std::string why = reason();
    fail(what + (why.empty() ? "" : ": " + why));
  }
  return result;
}

std::size_t size_of(Type type) {
  if (type == Type::uint8) return 1;
  return type == Type::float32 ? 4 : 8;
}

File::File(std::string name, std::size_t size) : name_(std::move(name)), size_(size) {}

File::File(File&& other) noexcept
    : name_(std::move(other.name_)),
      size_(other.size_),
      image_(std::move(other.image_)),
      file_(std::exchange(other.file_, -1)) {}

File::~File() {
  if (file_ < 0) return;
  const auto lock = lock_library();
  H5Fclose(file_);
}

File File::create(const std::string& name) {
  const auto lock = lock_library();
  File file(name, 0);
  const Id access(file.check(H5Pcreate(H5P_FILE_ACCESS), "H5Pcreate"), H5Pclose);
  const Id creation(file.check(H5Pcreate(H5P_FILE_CREATE), "H5Pcreate"), H5Pclose);
  file.check(H5Pset_fapl_core(access.get(), kCoreIncrement, 0), "H5Pset_fapl_core");
  file.image_ = std::make_unique<Image>();
  auto callbacks = file.image_->callbacks();
  file.check(H5Pset_file_image_callbacks(access.get(), &callbacks), "H5Pset_file_image_callbacks");
  // The format of HDF5 1.10, whatever library writes: its metadata carry checksums.
  file.check(H5Pset_libver_bounds(access.get(), H5F_LIBVER_V110, H5F_LIBVER_V110), "H5Pset_libver_bounds");
  file.check(H5Pset_fclose_degree(access.get(), H5F_CLOSE_STRONG), "H5Pset_fclose_degree");
  file.check(H5Pset_obj_track_times(creation.get(), 0), "H5Pset_obj_track_times");
  file.file_ =
      file.check(H5Fcreate(unique_name().c_str(), H5F_ACC_TRUNC, creation.get(), access.get()), "cannot create");
  return file;
}

File File::open(const std::string& name, std::string_view content) {
  const auto lock = lock_library();
  File file(name, content.size());
  if (content.empty()) file.fail("is empty");
  const Id access(file.check(H5Pcreate(H5P_FILE_ACCESS), "H5Pcreate"), H5Pclose);
  file.check(H5Pset_fapl_core(access.get(), kCoreIncrement, 0), "H5Pset_fapl_core");
  file.check(H5Pset_fclose_degree(access.get(), H5F_CLOSE_STRONG), "H5Pset_fclose_degree");
  // HDF5 copies the image although its parameter is not const.
  file.check(H5Pset_file_image(access.get(), const_cast<char*>(content.data()), content.size()), "H5Pset_file_image");
  file.file_ = file.check(H5Fopen(unique_name().c_str(), H5F_ACC_RDONLY, access.get()), "is no sound HDF5 file");
  return file;
}

void File::write_text(const std::string& attribute, const std::string& text) {
  const auto lock = lock_library();
  const Id type(check(H5Tcopy(H5T_C_S1), attribute), H5Tclose);
  check(H5Tset_size(type.get(), H5T_VARIABLE), attribute);  // what h5py reads as str, and the only one above 64 KiB
  check(H5Tset_cset(type.get(), H5T_CSET_UTF8), attribute);
  const Id space(check(H5Screate(H5S_SCALAR), attribute), H5Sclose);
  const Id object(check(H5Acreate2(file_, attribute.c_str(), type.get(), space.get(), H5P_DEFAULT, H5P_DEFAULT),
                        "cannot write the attribute " + attribute),
                  H5Aclose);
  const char* pointer = text.c_str();
  check(H5Awrite(object.get(), type.get(), &pointer), "cannot write the attribute " + attribute);
}

void File::write_integer(const std::string& attribute, std::int64_t value) {
  const auto lock = lock_library();
  const Id space(check(H5Screate(H5S_SCALAR), attribute), H5Sclose);
  const Id object(check(H5Acreate2(file_, attribute.c_str(), H5T_STD_I64LE, space.get(), H5P_DEFAULT, H5P_DEFAULT),
                        "cannot write the attribute " + attribute),
                  H5Aclose);
  check(H5Awrite(object.get(), H5T_NATIVE_INT64, &value), "cannot write the attribute " + attribute);
}

void File::write(const std::string& name, Type type, const Shape& shape, const void* values, const Layout& layout) {
  const auto lock = lock_library();
  const std::string what = "cannot write " + name;
  const auto dims = sizes(shape);
  const auto chunk = sizes(layout.chunk);
  const Id space(check(H5Screate_simple(static_cast<int>(dims.size()), dims.data(), nullptr), what), H5Sclose);
  const Id creation(check(H5Pcreate(H5P_DATASET_CREATE), what), H5Pclose);
  check(H5Pset_obj_track_times(creation.get(), 0), what);
  if (!chunk.empty()) {
    check(H5Pset_chunk(creation.get(), static_cast<int>(chunk.size()), chunk.data()), what);
    if (layout.deflate > 0) check(H5Pset_deflate(creation.get(), static_cast<unsigned>(layout.deflate)), what);
    check(H5Pset_fletcher32(creation.get()), what);
  }
  const Id dataset(
      check(H5Dcreate2(file_, name.c_str(), file_type(type), space.get(), H5P_DEFAULT, creation.get(), H5P_DEFAULT),
            what),
      H5Dclose);
  check(H5Dwrite(dataset.get(), memory_type(type), H5S_ALL, H5S_ALL, H5P_DEFAULT, values), what);
}

std::string File::close() {
  const auto lock = lock_library();
  check(H5Fflush(file_, H5F_SCOPE_GLOBAL), "H5Fflush");
  const auto size = static_cast<std::size_t>(check(H5Fget_file_image(file_, nullptr, 0), "H5Fget_file_image"));
  check(H5Fclose(std::exchange(file_, -1)), "cannot close");
  if (image_->buffer == nullptr) fail("HDF5 gave no image of the file");
  std::string bytes(static_cast<const char*>(image_->buffer), size);
  image_.reset();
  return bytes;
}

std::string File::text(const std::string& attribute) const {
  const auto lock = lock_library();
  const std::string what = "attribute " + attribute;
  if (check(H5Aexists(file_, attribute.c_str()), what) == 0) fail(what + " is missing");
  const Id object(check(H5Aopen(file_, attribute.c_str(), H5P_DEFAULT), what), H5Aclose);
  const Id stored(check(H5Aget_type(object.get()), what), H5Tclose);
  const Id space(check(H5Aget_space(object.get()), what), H5Sclose);
  if (H5Tget_class(stored.get()) != H5T_STRING || H5Sget_simple_extent_npoints(space.get()) != 1) {
    fail(what + " is not a string");
  }
  const Id type(check(H5Tcopy(H5T_C_S1), what), H5Tclose);
  check(H5Tset_cset(type.get(), H5Tget_cset(stored.get())), what);
  if (check(H5Tis_variable_str(stored.get()), what) > 0) {
    check(H5Tset_size(type.get(), H5T_VARIABLE), what);
    char* pointer = nullptr;
    check(H5Aread(object.get(), type.get(), &pointer), what);
    std::string out = pointer == nullptr ? "" : pointer;
    H5free_memory(pointer);
    return out;
  }
  const std::size_t size = H5Tget_size(stored.get());
  if (size == 0 || size > kMaxText) fail(what + " is too long");
  check(H5Tset_size(type.get(), size + 1), what);
  std::string out(size + 1, '\0');
  check(H5Aread(object.get(), type.get(), out.data()), what);
  out.resize(std::strlen(out.c_str()));  // without what pads it
  return out;
}

std::int64_t File::integer(const std::string& attribute) const {
  const auto lock = lock_library();
  const std::string what = "attribute " + attribute;
  if (check(H5Aexists(file_, attribute.c_str()), what) == 0) fail(what + " is missing");
  const Id object(check(H5Aopen(file_, attribute.c_str(), H5P_DEFAULT), what), H5Aclose);
  const Id stored(check(H5Aget_type(object.get()), what), H5Tclose);
  const Id space(check(H5Aget_space(object.get()), what), H5Sclose);
  if (H5Tget_class(stored.get()) != H5T_INTEGER || H5Sget_simple_extent_npoints(space.get()) != 1) {
    fail(what + " is not an integer");
  }
  std::int64_t value = 0;
  check(H5Aread(object.get(), H5T_NATIVE_INT64, &value), what);
  return value;
}

bool File::has(const std::string& name) const {
  const auto lock = lock_library();
  return check(H5Lexists(file_, name.c_str(), H5P_DEFAULT), name) > 0;
}

bool File::has_attribute(const std::string& name) const {
  const auto lock = lock_library();
  return check(H5Aexists(file_, name.c_str()), "attribute " + name) > 0;
}

std::vector<std::string> File::names() const {
  const auto lock = lock_library();
  H5G_info_t group{};
  check(H5Gget_info(file_, &group), "root group");
  if (group.nlinks > kMaxMembers) fail("has too many members");
  std::vector<std::string> out;
  for (hsize_t i = 0; i < group.nlinks; ++i) {
    const auto size =
        check(H5Lget_name_by_idx(file_, ".", H5_INDEX_NAME, H5_ITER_INC, i, nullptr, 0, H5P_DEFAULT), "root group");
    if (static_cast<std::size_t>(size) > size_) fail("has a member with an impossible name");
    std::string name(static_cast<std::size_t>(size) + 1, '\0');
    check(H5Lget_name_by_idx(file_, ".", H5_INDEX_NAME, H5_ITER_INC, i, name.data(), name.size(), H5P_DEFAULT),
          "root group");
    name.pop_back();
    out.push_back(std::move(name));
  }
  std::sort(out.begin(), out.end());
  return out;
}

DatasetInfo File::info(const std::string& name) const {
  const auto lock = lock_library();
  if (check(H5Lexists(file_, name.c_str(), H5P_DEFAULT), name) == 0) fail("dataset /" + name + " is missing");
  H5L_info_t link{};
  check(H5Lget_info(file_, name.c_str(), &link, H5P_DEFAULT), name);
  if (link.type != H5L_TYPE_HARD) fail(name + " is a link, a dataset is needed");
  const Id dataset(check(H5Dopen2(file_, name.c_str(), H5P_DEFAULT), name + " is no sound dataset"), H5Dclose);
  const Id creation(check(H5Dget_create_plist(dataset.get()), name), H5Pclose);
  if (H5Pget_layout(creation.get()) == H5D_VIRTUAL || H5Pget_external_count(creation.get()) != 0) {
    fail(name + ": its data are in another file");
  }
  DatasetInfo out;
  const Id type(check(H5Dget_type(dataset.get()), name), H5Tclose);
  bool recognised = false;
  out.type = type_of_file(type.get(), recognised);
  if (!recognised) fail(name + ": its type is none of float32, float64, int64, uint8");
  const Id space(check(H5Dget_space(dataset.get()), name), H5Sclose);
  read_shape(name, space.get(), most_values(size_) / H5Tget_size(type.get()), out);
  return out;
}

void File::read_shape(const std::string& name, std::int64_t space, std::size_t most, DatasetInfo& out) const {
  if (H5Sget_simple_extent_type(space) == H5S_NULL) fail(name + " holds nothing");
  const auto rank = check(H5Sget_simple_extent_ndims(space), name);
  if (static_cast<std::size_t>(rank) > kMaxRank) fail(name + " has too many dimensions");
  std::vector<hsize_t> dims(static_cast<std::size_t>(rank));
  check(H5Sget_simple_extent_dims(space, dims.data(), nullptr), name);
  out.count = 1;
  for (const hsize_t dim : dims) {
    if (dim > most || (dim != 0 && out.count > most / dim)) fail(name + " claims more values than the file can hold");
    out.count *= dim;
    out.shape.push_back(static_cast<std::int64_t>(dim));
  }
}

std::string File::read(const std::string& name, const DatasetInfo& info) const {
  const auto lock = lock_library();
  std::string values(info.count * size_of(info.type), '\0');
  const Id dataset(check(H5Dopen2(file_, name.c_str(), H5P_DEFAULT), name), H5Dclose);
  check(H5Dread(dataset.get(), memory_type(info.type), H5S_ALL, H5S_ALL, H5P_DEFAULT, values.data()),
        name + " cannot be read");
  return values;
}

// ---- library -------------------------------------------------------------------------------------------------------

std::string version() {
  const auto lock = lock_library();
  unsigned major = 0;
  unsigned minor = 0;
  unsigned release = 0;
  H5get_libversion(&major, &minor, &release);
  return std::to_string(major) + "." + std::to_string(minor) + "." + std::to_string(release);
}

}  // namespace nightreel::hdf5
