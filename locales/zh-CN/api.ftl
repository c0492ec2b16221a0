# /api/v1/
api-title = 程序接口
api-intro = 凭 API 令牌使用的 JSON 接口：应用、版本、订单、许可证、地点、节点、部署、告警和审核案件。供代码生成器使用的同一份文档：
api-no-script = 本页需要 JavaScript；文档本身不需要。
api-document = OpenAPI 3.1 文档
