#pragma once

#include <iosfwd>
#include <string>
#include <vector>

#include "src/base/terminal.hpp"

namespace vmrouter {

/// A table for people: aligned columns, two spaces apart, a line of titles on top. Whatever is put in is shown as
/// printable ASCII, so a cell may hold a guest's bytes. On a terminal the last column is wrapped below itself; in a
/// file or a pipe a row is always one line.
class Table {
public:
    struct Cell {
        Cell(std::string what, Style how = Style::Plain)  // NOLINT(google-explicit-constructor): rows read as lists
            : text(std::move(what)), style(how) {}
        Cell(const char* what, Style how = Style::Plain)  // NOLINT(google-explicit-constructor)
            : text(what), style(how) {}

        std::string text;  ///< empty: shown as "-"
        Style style;
    };

    enum class Align { Left, Right };
    struct Column {
        Column(std::string what, Align how = Align::Left)  // NOLINT(google-explicit-constructor)
            : title(std::move(what)), align(how) {}
        Column(const char* what, Align how = Align::Left)  // NOLINT(google-explicit-constructor)
            : title(what), align(how) {}

        std::string title;
        Align align;
    };

    explicit Table(std::vector<Column> columns) : columns_(std::move(columns)) {}

    /// Cells that are missing at the end are empty.
    void add(std::vector<Cell> row);
    [[nodiscard]] bool empty() const { return rows_.empty(); }

    /// Each line ends with a newline, none with spaces.
    [[nodiscard]] std::string text(const Terminal& terminal, std::size_t indent = 0) const;
    /// text() for whatever is at the other end of the stream.
    void print(std::ostream& out, std::size_t indent = 0) const;

private:
    std::vector<Column> columns_;
    std::vector<std::vector<Cell>> rows_;
};

}  // namespace vmrouter
