#pragma once

#include <iosfwd>
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "src/base/result.hpp"
#include "src/cli.hpp"
#include "src/plan.hpp"

namespace vmrouter {

/// The answer of the instance that is meant to one request.
Result<nlohmann::json> ask(const cli::Instance& instance, const nlohmann::json& request, const Folders& folders = {});

/// Prints an error as every command does; the exit status 1.
int fail(std::ostream& err, const Error& error);

/// One JSON document, for --json.
void print_document(std::ostream& out, const nlohmann::json& document);

}  // namespace vmrouter
