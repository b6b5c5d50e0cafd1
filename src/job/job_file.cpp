#include "nightreel/job/job_file.h"

#include <filesystem>
#include <unordered_map>

#include "job/line_stream.h"
#include "nightreel/base/error.h"
#include "nightreel/base/file.h"

namespace nightreel::job {
namespace {

using base::Error;
using base::ErrorKind;

constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";

std::string folder_of(const std::string& path) {
  std::error_code error;
  const std::string folder = path == "-" ? "." : base::parent_folder(path);
  const auto real = std::filesystem::canonical(folder, error);
  if (error) throw Error(ErrorKind::usage, base::printable(path) + ": cannot be read: " + error.message());
  return real.string();
}

/// Two bytes a character: the mark at the start of such a file, or an ASCII character's zero byte. A line of UTF-8 has
/// neither.
bool is_utf16(std::string_view line) {
  if (line.substr(0, 2) == "\xFF\xFE" || line.substr(0, 2) == "\xFE\xFF") return true;
  const std::string_view brace("{\0{", 3);
  return line.substr(0, 2) == brace.substr(0, 2) || line.substr(0, 2) == brace.substr(1, 2);
}

void check_encoding(std::string_view line, const std::string& where, const std::string& file) {
  if (!is_utf16(line)) return;
  throw Error(ErrorKind::usage,
              where + ": the text is UTF-16, as PowerShell's > writes it; jobs are UTF-8: iconv -f UTF-16 " +
                  "-t UTF-8 " + file + ", or in PowerShell Set-Content -Encoding utf8");
}

class Reader {
 public:
  Reader(const std::string& input_root, const JobFileLimits& limits)
      : input_root_(input_root), limits_(limits), bad_(limits.shown) {}

  void read(const std::string& path) {
    const std::string shown = path == "-" ? "stdin" : base::printable(path);
    try {
      const PathRules rules{folder_of(path), input_root_};
      LineStream lines(path, limits_);
      std::string line;
      lines_with_text_ = 0;
      for (auto status = lines.next(line); status != LineStream::Status::end; status = lines.next(line)) {
        const std::string where = shown + ":" + std::to_string(lines.number());
        if (lines.number() == 1) check_encoding(line, where, shown);
        take(line, status, where, rules);
      }
      if (lines_with_text_ == 0) bad_.add(shown + ": holds no job; give a file with a JSON object a line");
    } catch (const Error& e) {
      bad_.add(e.what());
    }
  }

  std::vector<Job> finish() {
    bad_.check();
    return std::move(jobs_);
  }

 private:
  void take(std::string& line, LineStream::Status status, const std::string& where, const PathRules& rules) {
    ++lines_with_text_;
    if (status == LineStream::Status::too_long) {
      bad_.add(where + ": the line is longer than " + std::to_string(limits_.line) + " bytes");
      return;
    }
    std::string_view text = line;
    if (text.substr(0, kByteOrderMark.size()) == kByteOrderMark) text.remove_prefix(kByteOrderMark.size());
    if (text.find_first_not_of(" \t\r") == std::string_view::npos) {
      --lines_with_text_;
      return;
    }
    try {
      Job job = parse_job(text, rules);
      job.origin = where;
      keep(std::move(job));
    } catch (const Error& e) {
      bad_.add(where + ": " + e.what());
    }
  }

  void keep(Job job) {
    const auto [known, is_new] = known_.try_emplace(job.id, jobs_.size());
    if (is_new) {
      jobs_.push_back(std::move(job));
    } else if (const Job& other = jobs_[known->second]; other.identity() != job.identity()) {
      throw Error(ErrorKind::usage, "id: '" + job.id + "' stands at " + other.origin + " with other content");
    }
  }

  std::string input_root_;
  JobFileLimits limits_;
  BadLines bad_;
  std::size_t lines_with_text_ = 0;  // of the file that is read
  std::vector<Job> jobs_;
  std::unordered_map<std::string, std::size_t> known_;  // id -> index in jobs_
};

}  // namespace

void BadLines::add(const std::string& line) {
  if (count_++ < shown_) text_ += (text_.empty() ? "" : "\n") + base::printable(line, std::string::npos);
}

void BadLines::check() const {
  if (count_ == 0) return;
  const std::string more = count_ > shown_ ? "\nand " + std::to_string(count_ - shown_) + " more bad lines" : "";
  throw Error::of_lines(ErrorKind::usage, text_ + more);
}

std::vector<Job> read_job_files(const std::vector<std::string>& paths, const std::string& input_root,
                                const JobFileLimits& limits) {
  Reader reader(input_root, limits);
  for (const auto& path : paths) reader.read(path);
  return reader.finish();
}

}  // namespace nightreel::job
