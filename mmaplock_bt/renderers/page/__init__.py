"""Parts of the HTML page: what each shows, made ready for its template beside it."""
