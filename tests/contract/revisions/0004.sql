-- Eve also said what in the documents answers Ann.
UPDATE labels SET passages = '["en/tiers.md#gold"]' WHERE labelled_by = 'eve';
