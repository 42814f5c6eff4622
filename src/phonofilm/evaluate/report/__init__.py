"""From outcomes of single clips to figures with intervals, tables and pages."""
