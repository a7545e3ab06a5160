"""The bus and the signals over RabbitMQ."""
