-- The newest wish that a home is not disturbed, or that this is over.
CREATE TABLE quiets (
  gateway TEXT PRIMARY KEY REFERENCES gateways (id),
  number BIGINT NOT NULL,
  until BIGINT NOT NULL,                          -- when it was wished to end, or ended; server's clock
  reason TEXT NOT NULL,
  ordered_at BIGINT NOT NULL,
  ordered_by TEXT NOT NULL
);
