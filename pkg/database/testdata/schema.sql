CREATE TABLE `services` (
  `created_at` datetime DEFAULT NULL,
  `updated_at` datetime DEFAULT NULL,
  `deleted_at` datetime DEFAULT NULL,
  `deleted` tinyint(1) DEFAULT NULL,
  `id` int(11) NOT NULL AUTO_INCREMENT,
  `host` varchar(255) DEFAULT NULL,
  `binary` varchar(255) DEFAULT NULL,
  `topic` varchar(255) DEFAULT NULL,
  `report_count` int(11) NOT NULL,
  `disabled` tinyint(1) DEFAULT NULL,
  `disabled_reason` varchar(255) DEFAULT NULL,
  `modified_at` datetime DEFAULT NULL,
  `rpc_current_version` varchar(36) DEFAULT NULL,
  `rpc_available_version` varchar(36) DEFAULT NULL,
  PRIMARY KEY (`id`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb3 COLLATE=utf8mb3_general_ci;

CREATE TABLE `operation_logs` (
  `created_at` datetime DEFAULT NULL,
  `updated_at` datetime DEFAULT NULL,
  `deleted_at` datetime DEFAULT NULL,
  `deleted` tinyint(1) NOT NULL,
  `id` varchar(36) NOT NULL,
  `project_id` varchar(255) NOT NULL,
  `operation_type` varchar(255) NOT NULL,
  `checkpoint_id` varchar(36) DEFAULT NULL,
  `plan_id` varchar(36) DEFAULT NULL,
  `provider_id` varchar(36) DEFAULT NULL,
  `restore_id` varchar(36) DEFAULT NULL,
  `scheduled_operation_id` varchar(36) DEFAULT NULL,
  `status` varchar(64) DEFAULT NULL,
  `started_at` datetime DEFAULT NULL,
  `ended_at` datetime DEFAULT NULL,
  `error_info` text DEFAULT NULL,
  `extra_info` text DEFAULT NULL,
  PRIMARY KEY (`id`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb3 COLLATE=utf8mb3_general_ci;

CREATE TABLE `restores` (
  `created_at` datetime DEFAULT NULL,
  `updated_at` datetime DEFAULT NULL,
  `deleted_at` datetime DEFAULT NULL,
  `deleted` tinyint(1) DEFAULT NULL,
  `id` varchar(36) NOT NULL,
  `project_id` varchar(255) DEFAULT NULL,
  `provider_id` varchar(36) DEFAULT NULL,
  `checkpoint_id` varchar(36) DEFAULT NULL,
  `restore_target` varchar(255) DEFAULT NULL,
  `parameters` text DEFAULT NULL,
  `status` varchar(64) DEFAULT NULL,
  `resources_status` text DEFAULT NULL,
  `resources_reason` text DEFAULT NULL,
  PRIMARY KEY (`id`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb3 COLLATE=utf8mb3_general_ci;

CREATE TABLE `verifications` (
  `created_at` datetime DEFAULT NULL,
  `updated_at` datetime DEFAULT NULL,
  `deleted_at` datetime DEFAULT NULL,
  `deleted` tinyint(1) DEFAULT NULL,
  `id` varchar(36) NOT NULL,
  `project_id` varchar(255) NOT NULL,
  `provider_id` varchar(36) NOT NULL,
  `checkpoint_id` varchar(36) NOT NULL,
  `status` varchar(64) DEFAULT NULL,
  `parameters` text DEFAULT NULL,
  `resources_status` text DEFAULT NULL,
  `resources_reason` text DEFAULT NULL,
  PRIMARY KEY (`id`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb3 COLLATE=utf8mb3_general_ci;

CREATE TABLE `checkpoint_records` (
  `created_at` datetime DEFAULT NULL,
  `updated_at` datetime DEFAULT NULL,
  `deleted_at` datetime DEFAULT NULL,
  `deleted` tinyint(1) NOT NULL,
  `id` varchar(36) NOT NULL,
  `project_id` varchar(36) NOT NULL,
  `checkpoint_id` varchar(36) NOT NULL,
  `checkpoint_status` varchar(36) NOT NULL,
  `provider_id` varchar(36) NOT NULL,
  `plan_id` varchar(36) NOT NULL,
  `operation_id` varchar(36) DEFAULT NULL,
  `create_by` varchar(36) DEFAULT NULL,
  `extend_info` text DEFAULT NULL,
  PRIMARY KEY (`id`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb3 COLLATE=utf8mb3_general_ci;
