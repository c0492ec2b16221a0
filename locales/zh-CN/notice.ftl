messages-title = 消息
messages-empty = 还没有消息
messages-empty-text = 与您的账号有关的通知都在这里，包括已用邮件发送的。
messages-to = 发往 { $address }
messages-at = 时间
messages-subject = 消息
messages-admin-title = 消息
messages-admin-text = 发给用户的通知；未能发出的附有邮件服务器的答复。不显示含密钥的链接。
messages-admin-off = 本服务器不发送邮件，用户在自己的页面上阅读消息。申请新密码的人由您提供链接。
messages-admin-state = 状态
messages-admin-all = 全部
messages-admin-empty = 没有消息
messages-admin-empty-text = 发给用户的消息在过期清理前都列在这里。
notice-link-in-mail = （链接只在邮件中）
notice-link-by-administrator = （链接未发送，请联系平台管理员）
notice-reset-password-subject = 坑口平台：设置新密码
notice-reset-password-text =
    有人（可能就是您）为坑口平台账号 { $address } 申请设置新密码。请在 { $minutes } 分钟内打开以下链接，链接只能使用一次：

    { $link }

    如果不是您本人，请忽略此消息，密码保持不变。
notice-password-changed-subject = 坑口平台：密码已修改
notice-password-changed-text =
    坑口平台账号 { $address } 的密码已修改，其他浏览器均已退出。API 令牌继续有效，请吊销可能已被他人知道的令牌。

    如果不是您本人所为，请立即在登录页申请新密码，并告知平台管理员。
notice-prove-address-subject = 坑口平台：确认邮箱
notice-prove-address-text =
    有人（可能就是您）在坑口平台填写了邮箱 { $address }。请在 { $hours } 小时内打开以下链接，确认此邮箱属于您：

    { $link }

    如果不是您本人，请忽略此消息。
notice-address-in-use-subject = 坑口平台：有人填写了您的邮箱
notice-address-in-use-text =
    有人（可能就是您）在坑口平台为另一个账号填写了邮箱 { $address }。此邮箱已有账号，未作任何更改。请在此登录；如忘记密码，也可在该页申请新密码：

    { $link }

    如果不是您本人所为，无需处理。
notice-address-changed-subject = 坑口平台：邮箱已更换
notice-address-changed-text =
    您的坑口平台账号现使用邮箱 { $address }，此邮箱不再使用。

    如果不是您本人所为，请立即告知平台管理员。
notice-release-recalled-subject = 版本召回：{ $app } { $version }
notice-release-recalled-text =
    平台已召回 { $app } 的版本 { $version }，贵矿有部署正在使用该版本，数量：{ $n }。平台不会停止正在运行的应用，是否停用由贵矿决定。原因和处理办法见部署页面（矿山 { $mine }；请先在姓名菜单中切换到该机构）：

    { $link }
notice-scenario-served-subject = 场景「{ $scenario }」已有应用
notice-scenario-served-text =
    您关注的场景「{ $scenario }」已有首个应用上架：{ $app }

    { $link }

    您对该场景的关注已自动结束。
notice-webhook-off-subject = Webhook 已停用：{ $host }
notice-webhook-off-text =
    贵机构位于 { $host } 的 Webhook 在整个重试期内均未收到消息，现已停用。未送达的消息在其日志中保留七天，可重新发送：

    { $link }
