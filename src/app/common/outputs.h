// What a command writes: files that it is asked for, judged before any work, and standard output, judged at the end.
//
// Plain functions; one thread, before others exist.
#pragma once

#include <string>

namespace nightreel::app {

/// Whether `path` can come to be, or be replaced, as a file. `flag` stands in the message, `ending` is what its name
/// must end with ("": anything). Throws base::Error{usage} for a folder that is not there, another ending, and for what
/// exists and is no regular file: run by root, a rename over /dev/null takes the device from the whole machine.
/// Error{storage} where the folder cannot be written to.
void check_output_file(const std::string& flag, const std::string& path, const std::string& ending);

/// Descriptors 0 to 2 that were closed become /dev/null: else the first file that is opened gets their number, and what
/// is printed.
void open_standard_descriptors();

/// For commands that work for minutes: a reader of their words that goes away ends them no more.
void outlive_readers();

/// Flushes standard output. The exit code: `code`, or that of storage where the output is lost, which is told.
int written_out(int code);

}  // namespace nightreel::app
