#pragma once

// Manual pages. Their prose is written by hand in mdoc(7), in the files *.in; lines that begin with '@' are replaced by
// what the tables of commands and keys say. A page that lacks a command or a key, or names one that there is none of,
// does not build.

#include <string>
#include <string_view>
#include <vector>

#include "conf/keys.hpp"
#include "src/base/result.hpp"
#include "src/cli.hpp"

namespace vmrouter {

/// vmrouter(8) from its template:
///   @command NAME   heading, synopsis and first sentence
///   @options NAME   its options, but for those that override the configuration
///   @examples NAME  its examples
///   @overrides      the options that override the configuration
/// "-" stands for running without a command, which has options and examples only.
Result<std::string> command_manual(std::string_view text, const std::vector<cli::CommandText>& commands);

/// vmrouter.toml(5) from its template:
///   @section NAME    a heading and its sentence
///   @key SECTION.NAME   an entry of a list: the key, its form, default, sentence and option
Result<std::string> configuration_manual(std::string_view text, const std::vector<conf::SectionText>& sections);

}  // namespace vmrouter
