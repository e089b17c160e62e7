"""What people see: tables, figures, pages, LaTeX, citations, differences."""
