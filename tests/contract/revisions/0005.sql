-- The company's documents were read once: which index counts, and a piece of an encoder.
INSERT INTO knowledge_indexes (id, assistant_id, name, about, created_at)
VALUES (1, 'labbot', 'index-33d2e6485544155c', '{"format": 7, "embedder": "2f4ad07f60e85e48/384"}', '2026-01-05T09:00:00.000000+00:00');
INSERT INTO knowledge_marks (assistant_id, key, value) VALUES ('labbot', 'CURRENT', 'index-33d2e6485544155c');
INSERT INTO knowledge_files (folder, file, part, content) VALUES ('encoder-2f4ad07f60e85e48', 'encoder.onnx', 0, 'onnx');
