"""The bus and the signals over RabbitMQ. The README draws which module uses which."""
