#pragma once

#include <cassert>
#include <optional>
#include <string>
#include <utility>
#include <variant>

namespace vmrouter {

/// Something the world (kernel, files, configuration) refused. Passed up and printed once, by whoever started the work.
struct Error {
    std::string what;   ///< what happened, in the user's words
    std::string where;  ///< file:line:column, interface, path or system call; may be empty
    std::string hint;   ///< what to do about it; may be empty
};

/// "where: what" and, on a second line, "  hint: ...", as the user sees it.
std::string to_string(const Error& error);

/// An Error for a failed system call: `what` followed by the text of `errnum`.
Error system_error(std::string what, int errnum, std::string where = {}, std::string hint = {});

/// The unhappy half of a Result, as std::unexpected: `return Failure{ParseError::TooShort};`
template <class E>
struct Failure {
    E error;
};
template <class E>
Failure(E) -> Failure<E>;

/// A value or the reason why there is none. The subset of std::expected (C++23) that we use, with its member names.
template <class T, class E = Error>
class [[nodiscard]] Result {
public:
    Result(T value) : state_(std::in_place_index<0>, std::move(value)) {}
    Result(Failure<E> failure) : state_(std::in_place_index<1>, std::move(failure.error)) {}

    [[nodiscard]] bool has_value() const { return state_.index() == 0; }
    explicit operator bool() const { return has_value(); }

    T& value() & { return *value_pointer(); }
    const T& value() const& { return *value_pointer(); }
    T&& value() && { return std::move(*value_pointer()); }
    T& operator*() & { return *value_pointer(); }
    const T& operator*() const& { return *value_pointer(); }
    T&& operator*() && { return std::move(*value_pointer()); }
    T* operator->() { return value_pointer(); }
    const T* operator->() const { return value_pointer(); }

    E& error() & { return *error_pointer(); }
    const E& error() const& { return *error_pointer(); }
    E&& error() && { return std::move(*error_pointer()); }

private:
    T* value_pointer() { return assert(has_value()), std::get_if<0>(&state_); }
    const T* value_pointer() const { return assert(has_value()), std::get_if<0>(&state_); }
    E* error_pointer() { return assert(!has_value()), std::get_if<1>(&state_); }
    const E* error_pointer() const { return assert(!has_value()), std::get_if<1>(&state_); }

    std::variant<T, E> state_;
};

template <class E>
class [[nodiscard]] Result<void, E> {
public:
    Result() = default;
    Result(Failure<E> failure) : error_(std::move(failure.error)) {}

    [[nodiscard]] bool has_value() const { return !error_; }
    explicit operator bool() const { return has_value(); }
    E& error() & { return assert(error_), *error_; }
    const E& error() const& { return assert(error_), *error_; }
    E&& error() && { return assert(error_), std::move(*error_); }

private:
    std::optional<E> error_;
};

}  // namespace vmrouter
