"""What a reviewer's browser is shown: pages made on the server that work as plain forms. Routes."""
