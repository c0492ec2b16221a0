# 对节点的应答（Margo）。
error-not-authorized = 此调用需要已登记节点的证书，且节点只能代表自身
error-gateway-not-found = 此处没有该网关
error-device-not-found = 该设备尚未上报能力
error-deployment-not-found = 该节点没有此部署文档
error-bundle-not-found = 该节点没有此部署包
error-semantic-error = JSON 格式正确，但内容无效
error-manifest-not-acceptable = 期望状态仅以 application/vnd.margo.manifest.v1+json 提供
error-margo-field = { $message }
