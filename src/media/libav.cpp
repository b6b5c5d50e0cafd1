#include "media/libav.h"

extern "C" {
#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
#include <libavutil/opt.h>
#include <libavutil/pixdesc.h>
#include <libswscale/swscale.h>
}

#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <mutex>

#include "nightreel/base/error.h"
#include "nightreel/base/file.h"

namespace nightreel::media::av {
namespace {

void drop_log(void*, int, const char*, va_list) {}

}  // namespace

std::string reason(int code) {
  std::array<char, AV_ERROR_MAX_STRING_SIZE> text{};
  av_strerror(code, text.data(), text.size());
  return text.data();
}

// The callback is one for the whole process and has no owner, so it is set once, before the first call that may log.
void silence() {
  static std::once_flag once;
  std::call_once(once, [] { av_log_set_callback(drop_log); });
}

namespace {

using base::Error;
using base::ErrorKind;

constexpr std::int64_t kMaxPixels = std::int64_t{16384} * 16384;

void check_call(int code, const std::string& what) {
  if (code < 0) throw Error(ErrorKind::internal, what + ": " + reason(code));
}

void check_file(int code, const std::string& what, const std::string& path) {
  if (code < 0) throw Error(ErrorKind::storage, what + " " + base::printable(path, 4096) + ": " + reason(code));
}

template <class T>
T* allocated(T* object) {
  if (object == nullptr) throw Error(ErrorKind::internal, "libav has no memory");
  return object;
}

// Options by name, as libav's functions take them. What they did not know stays in it.
class Dictionary {
 public:
  Dictionary() = default;
  Dictionary(const Dictionary&) = delete;
  Dictionary& operator=(const Dictionary&) = delete;
  ~Dictionary() { av_dict_free(&dictionary_); }
  void set(const char* key, const char* value) { check_call(av_dict_set(&dictionary_, key, value, 0), key); }
  AVDictionary** get() { return &dictionary_; }
  void check_all_used(const std::string& by) const {
    const AVDictionaryEntry* left = av_dict_get(dictionary_, "", nullptr, AV_DICT_IGNORE_SUFFIX);
    if (left != nullptr) throw Error(ErrorKind::internal, by + ": does not know the option " + left->key);
  }

 private:
  AVDictionary* dictionary_ = nullptr;
};

AVRational rational(Rational r) {
  return {r.num, r.den};
}

// "file:" keeps a name with a colon in it from being taken for a protocol.
std::string url(const std::string& path) {
  return "file:" + path;
}

Owned<AVFrame> make_frame(int width, int height, AVPixelFormat format) {
  Owned<AVFrame> frame(allocated(av_frame_alloc()));
  frame->width = width;
  frame->height = height;
  frame->format = format;
  check_call(av_frame_get_buffer(frame.get(), 0), "av_frame_get_buffer");
  return frame;
}

void copy_in(std::span<const std::uint8_t> rgb, AVFrame& frame) {
  const auto row = static_cast<std::size_t>(frame.width) * 3;
  if (rgb.size() != row * static_cast<std::size_t>(frame.height)) {
    throw Error(ErrorKind::internal, "a picture of " + std::to_string(rgb.size()) + " bytes for " +
                                         std::to_string(frame.width) + "x" + std::to_string(frame.height) + " pixels");
  }
  for (int y = 0; y < frame.height; ++y) {
    std::memcpy(frame.data[0] + std::ptrdiff_t{y} * frame.linesize[0], rgb.data() + static_cast<std::size_t>(y) * row,
                row);
  }
}

// ACCURATE_RND and BITEXACT: the assembler of every CPU gives what the C code gives.
Owned<SwsContext> make_scaler(const AVFrame& from, const AVFrame& to, int filter) {
  Owned<SwsContext> scaler(allocated(sws_getContext(from.width, from.height, static_cast<AVPixelFormat>(from.format),
                                                    to.width, to.height, static_cast<AVPixelFormat>(to.format),
                                                    filter | SWS_ACCURATE_RND | SWS_BITEXACT | SWS_FULL_CHR_H_INP,
                                                    nullptr, nullptr, nullptr)));
  return scaler;
}

void scale(SwsContext& scaler, const AVFrame& from, AVFrame& to) {
  const int rows = sws_scale(&scaler, from.data, from.linesize, 0, from.height, to.data, to.linesize);
  if (rows != to.height) throw Error(ErrorKind::internal, "sws_scale gave too few rows");
}

void set_colour(AVCodecContext& context, Colour colour) {
  context.pix_fmt = colour == Colour::video ? AV_PIX_FMT_YUV420P : AV_PIX_FMT_YUVJ420P;
  context.color_range = colour == Colour::video ? AVCOL_RANGE_MPEG : AVCOL_RANGE_JPEG;
  if (colour == Colour::jpeg) return;  // JFIF knows one colour space
  context.colorspace = AVCOL_SPC_BT709;
  context.color_primaries = AVCOL_PRI_BT709;
  context.color_trc = AVCOL_TRC_BT709;
  context.chroma_sample_location = AVCHROMA_LOC_LEFT;
}

}  // namespace

void Free::operator()(AVCodecContext* context) const {
  avcodec_free_context(&context);
}
void Free::operator()(AVFrame* frame) const {
  av_frame_free(&frame);
}
void Free::operator()(AVPacket* packet) const {
  av_packet_free(&packet);
}
void Free::operator()(SwsContext* context) const {
  sws_freeContext(context);
}

Rational to_rational(double value) {
  const AVRational r = av_d2q(value, 100000);
  return {r.num, r.den};
}

// ---- pictures ------------------------------------------------------------------------------------------------------

// The picture is copied first: swscale's assembler reads a little past the end of a row, which only libav's own
// buffers allow.
RgbToYuv::RgbToYuv(int width, int height, Colour colour) {
  silence();
  rgb_ = make_frame(width, height, AV_PIX_FMT_RGB24);
  yuv_ = make_frame(width, height, colour == Colour::video ? AV_PIX_FMT_YUV420P : AV_PIX_FMT_YUVJ420P);
  scaler_ = make_scaler(*rgb_, *yuv_, SWS_BICUBIC);
  const int* matrix = sws_getCoefficients(colour == Colour::video ? SWS_CS_ITU709 : SWS_CS_ITU601);
  const int full_range = colour == Colour::jpeg ? 1 : 0;
  constexpr int kOne = 1 << 16;  // contrast and saturation, 16.16
  check_call(sws_setColorspaceDetails(scaler_.get(), matrix, 1, matrix, full_range, 0, kOne, kOne),
             "sws_setColorspaceDetails");
}

AVFrame& RgbToYuv::convert(std::span<const std::uint8_t> rgb) {
  copy_in(rgb, *rgb_);
  check_call(av_frame_make_writable(yuv_.get()), "av_frame_make_writable");
  scale(*scaler_, *rgb_, *yuv_);
  return *yuv_;
}

std::vector<std::uint8_t> shrink(std::span<const std::uint8_t> rgb, int width, int height, int new_width,
                                 int new_height) {
  silence();
  const Owned<AVFrame> from = make_frame(width, height, AV_PIX_FMT_RGB24);
  const Owned<AVFrame> to = make_frame(new_width, new_height, AV_PIX_FMT_RGB24);
  copy_in(rgb, *from);
  scale(*make_scaler(*from, *to, SWS_AREA), *from, *to);
  std::vector<std::uint8_t> out;
  for (int y = 0; y < new_height; ++y) {
    const std::uint8_t* row = to->data[0] + std::ptrdiff_t{y} * to->linesize[0];
    out.insert(out.end(), row, row + std::ptrdiff_t{3} * new_width);
  }
  return out;
}

// ---- encoder -------------------------------------------------------------------------------------------------------

std::string version() {
  const unsigned number = avcodec_version();
  return std::to_string(AV_VERSION_MAJOR(number)) + "." + std::to_string(AV_VERSION_MINOR(number)) + "." +
         std::to_string(AV_VERSION_MICRO(number));
}

bool has_encoder(const std::string& name) {
  return avcodec_find_encoder_by_name(name.c_str()) != nullptr;
}

Encoder::Encoder(const EncoderOptions& options) {
  silence();
  const AVCodec* codec = avcodec_find_encoder_by_name(options.name.c_str());
  if (codec == nullptr) {
    throw Error(ErrorKind::environment,
                "libavcodec has no encoder " + options.name + ": install FFmpeg's libraries with it");
  }
  context_.reset(allocated(avcodec_alloc_context3(codec)));
  packet_.reset(allocated(av_packet_alloc()));
  context_->width = options.width;
  context_->height = options.height;
  context_->framerate = rational(options.fps);
  context_->time_base = av_inv_q(context_->framerate);
  context_->sample_aspect_ratio = {1, 1};
  context_->thread_count = options.threads;
  context_->thread_type = FF_THREAD_FRAME;
  context_->flags |= AV_CODEC_FLAG_BITEXACT | (options.colour == Colour::video ? AV_CODEC_FLAG_GLOBAL_HEADER : 0);
  set_colour(*context_, options.colour);
  Dictionary dictionary;
  for (const auto& [key, value] : options.options) dictionary.set(key.c_str(), value.c_str());
  check_call(avcodec_open2(context_.get(), codec, dictionary.get()), "cannot open the encoder " + options.name);
  dictionary.check_all_used(options.name);
}

void Encoder::encode(AVFrame& frame, const Sink& sink) {
  frame.pts = frames_++;
  frame.quality = context_->global_quality;
  send(&frame, sink);
}

void Encoder::flush(const Sink& sink) {
  send(nullptr, sink);
}

void Encoder::send(const AVFrame* frame, const Sink& sink) {
  check_call(avcodec_send_frame(context_.get(), frame), "cannot encode");
  for (;;) {
    const int code = avcodec_receive_packet(context_.get(), packet_.get());
    if (code == AVERROR(EAGAIN) || code == AVERROR_EOF) return;
    check_call(code, "cannot encode");
    packet_->duration = 1;
    sink(*packet_);
    av_packet_unref(packet_.get());
  }
}

std::span<const std::uint8_t> bytes(const AVPacket& packet) {
  return {packet.data, static_cast<std::size_t>(packet.size)};
}

// ---- writing MP4 ---------------------------------------------------------------------------------------------------

Mp4Writer::Mp4Writer(const std::string& path, const Encoder& encoder)
    : path_(path), tick_{encoder.context().time_base.num, encoder.context().time_base.den} {
  silence();
  try {
    check_call(avformat_alloc_output_context2(&file_, nullptr, "mp4", url(path).c_str()), "no MP4 muxer");
    file_->flags |= AVFMT_FLAG_BITEXACT;  // no library version, no time
    AVStream* stream = allocated(avformat_new_stream(file_, nullptr));
    check_call(avcodec_parameters_from_context(stream->codecpar, &encoder.context()),
               "avcodec_parameters_from_context");
    if (stream->codecpar->codec_id == AV_CODEC_ID_HEVC) {
      stream->codecpar->codec_tag = MKTAG('h', 'v', 'c', '1');  // Apple's players take no other
    }
    stream->time_base = rational(tick_);
    stream->avg_frame_rate = encoder.context().framerate;
    check_file(avio_open(&file_->pb, file_->url, AVIO_FLAG_WRITE), "cannot create", path_);
    created_ = true;
    Dictionary options;
    options.set("movflags", "+faststart");
    check_file(avformat_write_header(file_, options.get()), "cannot write", path_);
    options.check_all_used("the MP4 muxer");
  } catch (...) {
    close();
    throw;
  }
}

Mp4Writer::~Mp4Writer() {
  close();
}

void Mp4Writer::close() {
  if (file_ == nullptr) return;
  avio_closep(&file_->pb);
  avformat_free_context(file_);
  file_ = nullptr;
  if (created_) ::unlink(path_.c_str());
}

void Mp4Writer::write(AVPacket& packet) {
  av_packet_rescale_ts(&packet, rational(tick_), file_->streams[0]->time_base);
  packet.stream_index = 0;
  check_file(av_write_frame(file_, &packet), "cannot write", path_);
  check_file(file_->pb->error, "cannot write", path_);
}

void Mp4Writer::finish() {
  check_file(av_write_trailer(file_), "cannot write", path_);
  check_file(avio_closep(&file_->pb), "cannot close", path_);
  base::sync_file(path_);
  created_ = false;
  close();
}

// ---- reading MP4 ---------------------------------------------------------------------------------------------------

Mp4Reader::Mp4Reader(const std::string& path) : path_(path) {
  silence();
  packet_.reset(allocated(av_packet_alloc()));
  frame_.reset(allocated(av_frame_alloc()));
  try {
    open();
  } catch (...) {
    avformat_close_input(&file_);
    throw;
  }
}

Mp4Reader::~Mp4Reader() {
  avformat_close_input(&file_);
}

void Mp4Reader::fail(const std::string& what) const {
  throw Error(ErrorKind::storage, base::printable(path_, 4096) + ": not a sound video: " + what);
}

void Mp4Reader::check(int code, const char* what) const {
  if (code < 0) fail(std::string(what) + ": " + reason(code));
}

// The container is not guessed and only local files are opened: a foreign file could otherwise be a play list that
// makes libav fetch something.
void Mp4Reader::open() {
  Dictionary options;
  options.set("protocol_whitelist", "file");
  check_file(avformat_open_input(&file_, url(path_).c_str(), av_find_input_format("mp4"), options.get()),
             "cannot read the video", path_);
  find_stream();
  const AVCodecParameters& parameters = *file_->streams[stream_]->codecpar;
  if (parameters.codec_id != AV_CODEC_ID_H264 && parameters.codec_id != AV_CODEC_ID_HEVC) {
    fail("its codec is neither h264 nor hevc");
  }
  const AVCodec* codec = avcodec_find_decoder(parameters.codec_id);
  if (codec == nullptr) throw Error(ErrorKind::environment, std::string("libavcodec cannot decode ") + this->codec());
  decoder_.reset(allocated(avcodec_alloc_context3(codec)));
  check(avcodec_parameters_to_context(decoder_.get(), &parameters), "codec parameters");
  decoder_->err_recognition = AV_EF_CRCCHECK | AV_EF_BITSTREAM | AV_EF_BUFFER | AV_EF_EXPLODE;
  decoder_->error_concealment = 0;
  decoder_->max_pixels = kMaxPixels;
  decoder_->thread_count = 1;
  check(avcodec_open2(decoder_.get(), codec, nullptr), "cannot open the decoder");
}

void Mp4Reader::find_stream() {
  for (unsigned i = 0; i < file_->nb_streams && stream_ < 0; ++i) {
    if (file_->streams[i]->codecpar->codec_type == AVMEDIA_TYPE_VIDEO) stream_ = static_cast<int>(i);
  }
  if (stream_ < 0) fail("it has no video stream");
}

bool Mp4Reader::feed() {
  for (;;) {
    const int code = av_read_frame(file_, packet_.get());
    if (code == AVERROR_EOF) {
      check(avcodec_send_packet(decoder_.get(), nullptr), "cannot decode");
      return false;
    }
    check(code, "cannot read a packet");
    const bool ours = packet_->stream_index == stream_;
    if (ours && (packet_->flags & AV_PKT_FLAG_CORRUPT) != 0) fail("it is cut off");
    const int sent = ours ? avcodec_send_packet(decoder_.get(), packet_.get()) : 0;
    av_packet_unref(packet_.get());
    check(sent, "cannot decode");
    if (ours) return true;
  }
}

bool Mp4Reader::next(Yuv& picture) {
  for (;;) {
    const int code = avcodec_receive_frame(decoder_.get(), frame_.get());
    if (code == AVERROR_EOF) return false;
    if (code != AVERROR(EAGAIN)) {
      check(code, "cannot decode");
      break;
    }
    feed();
  }
  if (frame_->decode_error_flags != 0 || (frame_->flags & AV_FRAME_FLAG_CORRUPT) != 0) fail("a frame is damaged");
  picture.width = frame_->width;
  picture.height = frame_->height;
  const char* name = av_get_pix_fmt_name(static_cast<AVPixelFormat>(frame_->format));
  picture.pix_fmt = name == nullptr ? "unknown" : name;
  for (int i = 0; i < 3; ++i) {
    picture.planes[i] = frame_->data[i];
    picture.strides[i] = frame_->linesize[i];
  }
  return true;
}

std::string Mp4Reader::codec() const {
  return avcodec_get_name(file_->streams[stream_]->codecpar->codec_id);
}

double Mp4Reader::fps() const {
  const AVRational rate = file_->streams[stream_]->avg_frame_rate;
  return rate.num > 0 && rate.den > 0 ? av_q2d(rate) : 0;
}

std::int64_t Mp4Reader::declared_frames() const {
  return file_->streams[stream_]->nb_frames;
}

}  // namespace nightreel::media::av
