# /api/v1/
api-title = API for programs
api-intro = JSON by API token: listings, releases, orders, licences, sites, nodes, deployments, alarms and cases. The same as a document for generators:
api-no-script = This page needs JavaScript; the document does not.
api-document = OpenAPI 3.1 document
