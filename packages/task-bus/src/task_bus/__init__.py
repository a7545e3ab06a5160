"""Tasks and signals through RabbitMQ, or in process."""
