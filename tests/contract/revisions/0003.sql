-- Ann sent a picture, which is there, and another, of which only its name is left.
INSERT INTO files (id, assistant_id, conversation_id, customer_id, name, media_type, size, created_at, stored_at, deleted_at)
VALUES ('f-there', 'labbot', 1, 1, 'Lampe für 🙂.png', 'image/png', 67, '2126-01-05T09:00:00.000000+00:00',
  '2126-01-05T09:00:01.000000+00:00', NULL);
INSERT INTO files (id, assistant_id, conversation_id, customer_id, name, media_type, size, created_at, stored_at, deleted_at)
VALUES ('f-gone', 'labbot', 1, 1, 'old.png', 'image/png', 67, '2026-01-05T09:00:00.000000+00:00',
  '2026-01-05T09:00:01.000000+00:00', '2026-04-05T09:00:01.000000+00:00');
