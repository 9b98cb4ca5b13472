DROP TABLE own_wallets;
DROP TABLE deliveries;
DROP TABLE webhooks;
