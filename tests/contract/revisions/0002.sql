-- Bob was to be reminded long ago, Ann will be in a century.
INSERT INTO reminders (assistant_id, conversation_id, customer_id, name, intent, entities, due_at, kill_on_user_message)
VALUES ('labbot', 2, 2, 'call back', 'reminder_fired', '[]', '2026-01-05T11:00:00.000000+00:00', true);
INSERT INTO reminders (assistant_id, conversation_id, customer_id, name, intent, entities, due_at, kill_on_user_message)
VALUES ('labbot', 1, 1, 'birthday', 'reminder_fired', '[{"entity":"tier","value":"gold"}]',
  '2126-01-05T11:00:00.000000+00:00', false);
