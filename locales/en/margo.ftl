# Answers to nodes (Margo).
error-not-authorized = This call needs the certificate of an enrolled node, and a node speaks only for itself
error-gateway-not-found = No gateway of this name is known here
error-device-not-found = This device has not told its capabilities
error-deployment-not-found = This node has no such deployment document
error-bundle-not-found = This node has no such bundle
error-semantic-error = The document is well-formed JSON but its content is not valid
error-manifest-not-acceptable = The desired state is only available as application/vnd.margo.manifest.v1+json
error-margo-field = { $message }
